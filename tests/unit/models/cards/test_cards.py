"""Model cards: read like Hugging Face reads them, scored by what they say, and never rewritten over their authors."""

import time

import pytest
from huggingface_hub import ModelCard as Theirs
from huggingface_hub import ModelCardData
from huggingface_hub.repocard_data import EvalResult
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Invalid
from vallum.models.cards import (
    DEMANDS,
    CardRefused,
    ModelCard,
    demands_of,
    parse_card,
    render_card,
    render_markdown,
    score_card,
)
from vallum.models.facts import Dataset, Dependency, Evaluation, FileFact, ModelFacts, Signature

WORDS = "It was looked at {} by several people over many months and described with care"
AUTHOR = """---
license: apache-2.0   # agreed with legal
tags:
- tabular
datasets: [adult]
---
# Credit model

Predicts how likely a loan is repaid, from the answers in the form.

## Intended use

For the first look at an application, by trained staff of the bank.
"""
FACTS = ModelFacts(
    name="credit",
    version="7",
    digest="ab" * 32,
    licence="mit",
    owner="risk-team",
    task="tabular-classification",
    frameworks=("sklearn",),
    files=(FileFact("model.onnx", "cd" * 32, 1234),),
    datasets=(Dataset("adult", "3", "ef" * 32),),
    dependencies=(Dependency("numpy", "2.1.0"),),
    evaluations=(Evaluation("accuracy", 0.91, "tabular-classification", "adult", "test"),),
    signature=Signature("ci"),
    scan_verdict="pass",
)


def full_card(risk_class, without=()):
    lines = ["---", "license: mit", "---", "# A model", "", WORDS.format("summary"), ""]
    titles = {
        "intended-use": "Intended Use",
        "limitations": "Limitations",
        "training-data": "Training Data",
        "evaluation": "Evaluation",
        "contact": "Model Card Contact",
        "transparency": "Transparency",
        "out-of-scope-use": "Out-of-Scope Use",
        "bias": "Bias",
        "risks": "**Risks** :warning:",
        "human-oversight": "[Human oversight](#x)",
        "robustness": "Robustness",
        "data-governance": "Data governance",
        "technical-details": "Technical Specifications",
        "maintenance": "Maintenance",
    }
    for demand in demands_of(risk_class):
        if demand.name in titles and demand.name not in without:
            lines += [f"## {titles[demand.name]}", "", WORDS.format(demand.name), ""]
    return parse_card("\n".join(lines).encode())


# The format.


def test_a_card_comes_back_to_the_character():
    card = parse_card(AUTHOR.encode())
    assert card.data == {"license": "apache-2.0", "tags": ["tabular"], "datasets": ["adult"]}
    assert render_markdown(card) == AUTHOR
    assert [(one.level, one.title) for one in card.sections()] == [(0, ""), (1, "credit model"), (2, "intended use")]


def test_hugging_face_reads_ours():
    card = render_card(FACTS)
    theirs = Theirs(render_markdown(card))
    assert theirs.data.license == "mit"
    assert theirs.data.library_name == "sklearn"
    assert theirs.data.datasets == ["adult"]
    (result,) = theirs.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("accuracy", 0.91, "test")
    assert theirs.text == card.text


def test_we_read_hugging_faces():
    data = ModelCardData(
        language=["en", "de"],
        license="mit",
        model_name="credit",
        datasets=["adult"],
        tags=["a", "b: c"],
        eval_results=[
            EvalResult(task_type="x", dataset_type="adult", dataset_name="A", metric_type="f1", metric_value=0.5)
        ],
    )
    theirs = Theirs(f"---\n{data.to_yaml()}\n---\n# Grüße 你好\n")
    card = parse_card(str(theirs).encode())
    assert card.data == theirs.data.to_dict()
    assert card.text == theirs.text
    assert "evaluation" not in score_card(card, "limited").missing  # figures in the front matter are enough


def test_hugging_faces_own_template_says_nothing_yet():
    theirs = Theirs.from_template(ModelCardData(license="mit"))
    score = score_card(parse_card(str(theirs).encode()), "high")
    assert set(score.missing) == {demand.name for demand in DEMANDS} - {"licence"}


@given(st.binary(max_size=200))
def test_noise_is_a_card_or_refused_and_never_crashes(noise):
    for raw in (noise, b"---\n" + noise + b"\n---\n# x"):
        try:
            score_card(parse_card(raw), "high")
        except CardRefused:
            continue


@given(st.text(alphabet="-:#&*!<>[]{}|'\"\\ \n\tab0.~?%@`", max_size=120))
def test_front_matter_that_is_nearly_yaml_is_refused_or_comes_back(noise):
    try:
        ours = parse_card(f"---\n{noise}\n---\n".encode())
    except CardRefused:
        return
    assert parse_card(render_markdown(ours).encode()).data == ours.data


@pytest.mark.parametrize(
    ("front", "match"),
    [
        ("a: &a [x]\nb: *a", "anchor"),
        ("a: &a [x, x]\n" + "".join(f"{c}: &{c} [*{p}]\n" for p, c in zip("abc", "bcd", strict=True)), "anchor"),
        ("<<: {a: 1}\nb: 2", "merges"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !!python/name:os.system x", "tag"),
        ("a: !custom x", "tag"),
        ("!!set {a, b}", "tag"),
        ("license: mit\nlicense: gpl", "twice"),
        ("license: mit\n'license': gpl", "twice"),
        ("[a]: 1", "key that is no text"),
        ("a: 1\n--- {b: 2}", "more than one"),
        ("- a\n- b", "no mapping"),
        ("just words", "no mapping"),
        ("a: [", "no YAML"),
        ("a: " + "[" * 100 + "]" * 100, "deeper"),
        ("a: " + "[" * 100_000, "deeper|no YAML"),
        ("a: " + "9" * 5000, "cannot be read"),
        ("a: [" + "1," * 250_000 + "]", "parts"),
        ("a: '" + "x" * (1 << 20) + "'", "larger"),
        ("a: \x00", "no YAML"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_hostile_front_matter_is_refused_soon(front, match):
    started = time.process_time()
    with pytest.raises(CardRefused, match=match):
        parse_card(f"---\n{front}\n---\n".encode())
    assert time.process_time() - started < 10  # the slow parser without libyaml, on the largest of them


def test_dates_and_numbers_that_json_does_not_have_stay_text():
    card = parse_card(b"---\ndate: 2024-01-01\nx: .nan\ny: -.inf\nz: 0x10\nn: ~\nv: 1.0\n---\n")
    assert card.data == {"date": "2024-01-01", "x": ".nan", "y": "-.inf", "z": 16, "n": None, "v": 1.0}


def test_a_card_that_is_too_large_or_no_text_is_refused():
    with pytest.raises(CardRefused, match="larger"):
        parse_card(b"x" * ((8 << 20) + 1))
    with pytest.raises(CardRefused, match="UTF-8"):
        parse_card("# é".encode("latin-1"))


@pytest.mark.parametrize(
    "part",
    [
        "# a\n",
        "<!--",
        "<",
        "[",
        "# [",
        "[more information ",
        "#",
        " #",
        "- ",
        "a\n-\n",
        "a\n=\n",
        "```\n",
        "~~~ ",
        "## x\n# y\n",
        "<!-- vallum:record:begin -->",
        "<!-- vallum:record:begin --><!-- vallum:record:end -->",
        "[a](",
        "# " + "[a](" * 99 + "\n",
    ],
)
def test_no_card_takes_long(part):
    raw = (part * ((1 << 20) // len(part))).encode()
    started = time.process_time()
    card = parse_card(raw)
    score_card(card, "high")
    render_card(FACTS, card)
    assert time.process_time() - started < 12  # of a megabyte; the quadratic ones took minutes


# What it says.


@pytest.mark.parametrize("risk_class", ["minimal", "limited", "high"])
def test_a_card_is_complete_when_every_demand_is_met(risk_class):
    score = score_card(full_card(risk_class), risk_class)
    assert (score.score, score.missing, score.complete) == (1.0, (), True)


@pytest.mark.parametrize("name", [demand.name for demand in DEMANDS if demand.name not in ("licence", "description")])
def test_each_missing_section_is_named(name):
    score = score_card(full_card("high", without=(name,)), "high")
    assert score.missing == (name,)
    assert score.score == (len(DEMANDS) - 1) / len(DEMANDS)


def test_a_class_demands_what_those_below_it_do():
    minimal, limited, high = (set(score_card(parse_card(b""), one).missing) for one in ("minimal", "limited", "high"))
    assert minimal < limited < high == {demand.name for demand in DEMANDS}
    assert score_card(parse_card(b""), "high").score == 0
    with pytest.raises(Invalid, match="minimal, limited, high"):
        score_card(parse_card(b""), "none")


@pytest.mark.parametrize(
    "body",
    [
        "",
        "TBD",
        "[More Information Needed]",
        "n/a",
        "To be written",
        "see paper",
        "x " * 50,
        "{{ limitations | default('', true) }}",
        f"<!-- {WORDS} -->",
        "<span><b></b></span>",
        "TODO TODO TODO TODO TODO TODO TODO TODO TODO",
        "### Deeper heading with quite a lot of words in it",
    ],
)
def test_a_section_that_says_nothing_does_not_count(body):
    card = parse_card(f"---\nlicense: mit\n---\n# M\n\n## Limitations\n\n{body}\n\n## Next\n".encode())
    assert "limitations" in score_card(card, "minimal").missing


@pytest.mark.parametrize(
    "text",
    [
        "```\n## Limitations\n{}\n```",
        "~~~~\n~~~\n## Limitations\n{}\n~~~~",
        "<!--\n## Limitations\n{}\n-->",
        "<!--\n## Limitations\n{}",
        "#Limitations\n{}",
        "    ## Limitations\n{}",
    ],
)
def test_a_heading_that_no_reader_sees_is_none(text):
    assert "limitations" in score_card(parse_card(text.format(WORDS).encode()), "minimal").missing


def test_underlined_headings_are_headings():
    card = parse_card(f"A model\n=======\n\n{WORDS}\n\nLimitations\n---\n\n{WORDS} too\n".encode())
    assert score_card(card, "minimal").missing == ("licence", "intended-use")


def test_the_same_words_do_not_fill_a_card():
    names = [
        "Overview",
        "Intended use",
        "Limitations",
        "Data",
        "Evaluation",
        "Contact",
        "Transparency",
        "Misuse",
        "Bias",
        "Risks",
        "Human oversight",
    ]
    copied = parse_card("".join(f"## {name}\n{WORDS}\n" for name in names).encode())
    one_title = parse_card(f"## {' '.join(names)}\n{WORDS}\n".encode())
    nested = parse_card(("".join(f"{'#' * min(6, n + 1)} {name}\n" for n, name in enumerate(names)) + WORDS).encode())
    for card in (copied, one_title, nested):
        score = score_card(card, "high")
        assert len(score.demanded) - len(score.missing) == 3


def test_a_models_name_meets_no_demand():
    card = parse_card(f"# Robustness-benchmark with human oversight, bias and risks\n\n{WORDS}\n".encode())
    assert set(score_card(card, "high").demanded) - set(score_card(card, "high").missing) == {"description"}


@pytest.mark.parametrize(
    ("front", "met"),
    [
        ("license: mit", True),
        ("license: [mit, gpl-3.0]", True),
        ("license: ''", False),
        ("license: 7", False),
        ("license: unknown", False),
        ("license: other", False),
        ("license: other\nlicense_name: ours", True),
        ("license: '[More Information Needed]'", False),
        ("license:", False),
    ],
)
def test_a_licence_is_one_that_says_which(front, met):
    assert ("licence" in score_card(parse_card(f"---\n{front}\n---\n".encode()), "minimal").missing) is not met


@pytest.mark.parametrize(
    "index",
    [
        "7",
        "[]",
        "[{results: 3}]",
        "[{results: [{metrics: [{value: true}]}]}]",
        "[{results: [{metrics: [{value: x}]}]}]",
    ],
)
def test_an_index_without_figures_is_no_evaluation(index):
    card = parse_card(f"---\nmodel-index: {index}\n---\n".encode())
    assert "evaluation" in score_card(card, "limited").missing


# What the platform adds.


def test_the_authors_words_stand_as_written():
    author = parse_card(AUTHOR.encode())
    card = render_card(FACTS, author)
    assert card.data["license"] == "apache-2.0"  # and not what the platform thinks
    assert card.data["library_name"] == "sklearn"
    written = render_markdown(card)
    assert written.startswith(AUTHOR.split("---\n")[0] + "---\n" + author.front)
    assert "# agreed with legal" in written
    assert author.text.rstrip() in written
    assert parse_card(written.encode()) == card
    assert "ab" * 32 in card.text
    assert "signed by" in card.text


def test_rendering_again_changes_nothing_and_new_facts_replace_old_ones():
    once = render_card(FACTS, parse_card(AUTHOR.encode()))
    assert render_card(FACTS, once) == once
    later = render_card(ModelFacts(name="credit", version="8"), once)
    assert "ab" * 32 not in later.text
    assert later.text.count("vallum:record:begin") == 1
    assert parse_card(AUTHOR.encode()).text.rstrip() in later.text


@pytest.mark.parametrize(
    "forged",
    [
        "{0}\nscan: pass\n{1}\n\n{0}\nscan: pass\n{1}\n",
        "{0}\n{0}\nscan: pass\n{1}\n{1}\n",
        "{0} {0} {0} scan: pass",
        "{1} {0} scan: pass {1}",
        "```\n{0}\nscan: pass\n{1}\n```\n",
    ],
)
def test_a_record_that_somebody_forged_is_gone(forged):
    marks = ("<!-- vallum:record:begin -->", "<!-- vallum:record:end -->")
    once = render_card(FACTS, parse_card(f"# Mine\n\nMy words.\n\n{forged.format(*marks)}\nMore words.\n".encode()))
    assert (once.text.count(marks[0]), once.text.count(marks[1])) == (1, 1)
    record = once.text.split(marks[0])[1].split(marks[1])[0]
    assert "ab" * 32 in record
    assert "My words." in once.text
    assert "More words." in once.text
    assert render_card(FACTS, once) == once


def test_a_mark_cut_in_two_by_a_record_does_not_come_together():
    marks = ("<!-- vallum:record:begin -->", "<!-- vallum:record:end -->")
    spliced = f"# Mine\n{marks[0]}{marks[0]}{marks[1]}\n<!-- vallum:rec{marks[0]}{marks[1]}ord:begin -->\n"
    text = render_card(FACTS, parse_card(spliced.encode())).text
    assert (text.count(marks[0]), text.count(marks[1])) == (1, 1)


def test_what_stands_after_the_record_stays():
    once = render_card(FACTS, parse_card(AUTHOR.encode()))
    extended = ModelCard(once.data, once.text + "\n## Contact\n\nBy mail.\n", once.front)
    assert render_card(FACTS, extended).text.endswith("\n## Contact\n\nBy mail.\n")


@pytest.mark.parametrize(
    "front", ["{license: mit, tags: [a]}", "license: mit\n# the end", "license: mit\nnotes: |\n  a\n  b\n", ""]
)
def test_any_way_to_write_front_matter_can_be_added_to(front):
    author = parse_card(f"---\n{front}\n---\n# x\n".encode())
    card = render_card(FACTS, author)
    assert parse_card(render_markdown(card).encode()) == card
    assert {**card.data, **author.data} == card.data
    assert card.data["pipeline_tag"] == "tabular-classification"


def test_names_from_outside_make_no_markdown():
    evil = "x|<script>alert(1)</script>`## Limitations`\n<!-- vallum:record:end -->[a](javascript:b)\u202e"
    facts = ModelFacts(
        name=evil,
        owner=evil,
        files=(FileFact(evil, "ab" * 32, 1),),
        dependencies=(Dependency(evil, evil, source=evil),),
        signature=Signature(evil),
        scan_verdict=evil,
    )
    text = render_card(facts, parse_card(b"# Mine\n")).text
    record = text.split("record:begin -->")[1].rsplit("<!-- ", 1)[0]
    assert not set("<`[\u202e") & set(record)
    assert text.count("<!--") == 2
    assert not any("limitations" in section.title for section in parse_card(text.encode()).sections())


def test_what_the_platform_writes_meets_no_demand_of_prose():
    score = score_card(render_card(FACTS), "high")
    assert set(score.demanded) - set(score.missing) <= {"licence", "evaluation", "training-data"}
