"""Other projects' detectors behind our port. The real ones run where they are installed; their shape is held always."""

import types

import pytest

from vallum.guards import Channel, Mode, Segment, build_runner
from vallum.guards.adapters.llm_guard import LlmGuardScanner
from vallum.guards.adapters.nemo import NemoRails
from vallum.guards.adapters.presidio import FILE_VARIABLE, PresidioGuard, build
from vallum.guards.conformance import check_guard
from vallum.guards.plugins import load_plugin
from vallum.guards.runner import GuardRunner
from vallum.kernel.errors import Invalid

NAMES = ("Ada Lovelace", "Grace Hopper")


class Recogniser:
    """Answers as Presidio's analyzer does."""

    def get_supported_entities(self, language):
        return ["PERSON", "EMAIL_ADDRESS"]

    def analyze(self, text, *, language, entities, score_threshold):
        assert entities == ["PERSON"]
        text.encode()  # as a tokenizer would
        return [
            types.SimpleNamespace(entity_type="PERSON", start=at, end=at + len(name), score=0.85)
            for name in NAMES
            for at in [text.find(name)]
            if at >= 0
        ]


def test_names_are_found_the_same_whole_and_in_pieces():
    check_guard(
        PresidioGuard(Recogniser()),
        found=["Ask Ada Lovelace. Or Grace Hopper?\nYes, Grace Hopper."],
        clean=["Nobody is named here. Not one."],
    )


def test_a_name_is_taken_out_and_the_rest_stays():
    runner = GuardRunner([(PresidioGuard(Recogniser()), Mode.REDACT)])
    segment = Segment("Dear Ada Lovelace, hello. Yours, Grace Hopper", Channel.USER, "test")
    inspection = runner.inspect([segment])
    assert inspection.texts == ("Dear [redacted:name_person], hello. Yours, [redacted:name_person]",)
    assert [(f.kind, f.count) for f in inspection.findings] == [("name_person", 2)]


def test_without_the_project_an_application_that_names_it_is_refused_and_told_why(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "presidio_analyzer", None)
    load_plugin.cache_clear()
    with pytest.raises(Invalid, match="presidio cannot be loaded"):
        build_runner({}, max_chars=10, plugins=[("presidio", Mode.DETECT)])


class BanNothing:
    def scan(self, prompt):
        return prompt, "forbidden" not in prompt, 1.0 if "forbidden" in prompt else -1.0


def test_a_scanner_of_llm_guard():
    guard = LlmGuardScanner("house-rules", BanNothing())
    runner = GuardRunner([], [(guard, Mode.BLOCK)])
    assert runner.inspect([Segment("fine", Channel.USER, "t")]).action == "allow"
    found = runner.inspect([Segment("a forbidden thing", Channel.TOOL, "t")])
    assert [(f.guard, f.kind, f.action) for f in found.findings] == [("house-rules", "ban_nothing", "block")]


def test_a_scanner_that_breaks_blocks():
    guard = LlmGuardScanner("house-rules", object())
    found = GuardRunner([], [(guard, Mode.DETECT)]).inspect([Segment("fine", Channel.USER, "t")])
    assert (found.action, found.findings[0].kind) == ("block", "guard_failed")


class Rails:
    def generate(self, *, messages, options):
        assert options["rails"] == ["input"]
        rail = types.SimpleNamespace(name="Check jailbreak!", stop="forbidden" in messages[0]["content"])
        return types.SimpleNamespace(log=types.SimpleNamespace(activated_rails=[rail, rail]))


def test_rails_that_stop_a_message():
    guard = NemoRails("rails", Rails())
    assert [f.kind for f in guard.find("a forbidden thing")] == ["check_jailbreak"]
    assert guard.find("fine") == []
    assert guard.find_in([Segment("forbidden", Channel.SYSTEM, "t", trusted=True)]) == [()]


# The real ones.


def test_presidio_itself(tmp_path, monkeypatch):
    pytest.importorskip("presidio_analyzer")
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": name} for name in NAMES])
    pipeline.to_disk(tmp_path / "names")
    file = tmp_path / "presidio.yaml"
    file.write_text(
        f"nlp_engine_name: spacy\nmodels:\n  - lang_code: en\n    model_name: {tmp_path / 'names'}\n"
        "ner_model_configuration:\n  model_to_presidio_entity_mapping:\n    PERSON: PERSON\n"
    )
    monkeypatch.setenv(FILE_VARIABLE, str(file))
    guard = build()
    check_guard(guard, found=["Ask Ada Lovelace. Or Grace Hopper?"], clean=["Nobody is named here."])


def test_a_scanner_of_llm_guard_itself():
    scanners = pytest.importorskip("llm_guard.input_scanners")
    guard = LlmGuardScanner("banned", scanners.BanSubstrings(["bluebird"]))
    assert [f.kind for f in guard.find("the bluebird sings")] == ["ban_substrings"]
    assert guard.find("the robin sings") == ()


def test_nemo_itself():
    nemo = pytest.importorskip("nemoguardrails")
    config = nemo.RailsConfig.from_content(
        colang_content=(
            "define flow house rules\n"
            '  if "bluebird" in $user_message\n    bot refuse to respond\n    stop\n'
            'define bot refuse to respond\n  "No."\n'
        ),
        yaml_content="models: []\nrails:\n  input:\n    flows:\n      - house rules\n",
    )
    guard = NemoRails("rails", nemo.LLMRails(config))
    assert [f.kind for f in guard.find("the bluebird sings")] == ["house_rules"]
    assert guard.find("the robin sings") == []
