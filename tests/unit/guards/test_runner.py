import importlib
import pkgutil
import time

import pytest

import vallum.guards
from vallum.guards import Channel, GuardRunner, Mode, Segment, build_runner
from vallum.kernel.errors import Invalid


def seg(*texts):
    return [Segment(text, Channel.USER, "test") for text in texts]


def modes(**by_name):
    return build_runner({name: Mode(mode) for name, mode in by_name.items()}, max_chars=1000)


def test_block_outweighs_redact_outweighs_detect(secrets, personal):
    runner = modes(secrets="block", pii="redact")
    assert runner.inspect(seg(personal["email"])).action == "redact"
    assert runner.inspect(seg(personal["email"], secrets["vallum_key"])).action == "block"
    assert modes(pii="detect").inspect(seg(personal["email"])).action == "allow"


def test_detect_counts_and_changes_nothing(personal):
    text = f"{personal['email']} and {personal['email']}"
    inspection = modes(pii="detect").inspect(seg(text))
    assert inspection.texts == (text,)
    assert [(f.guard, f.kind, f.action, f.count) for f in inspection.findings] == [("pii", "email", "detect", 2)]


def test_off_is_not_run(personal):
    inspection = modes(pii="off", secrets="block").inspect(seg(personal["email"]))
    assert (inspection.action, inspection.findings) == ("allow", ())


def test_redaction_names_the_kind_and_keeps_the_rest(personal):
    text = f"write to {personal['email']}, soon"
    inspection = modes(pii="redact").inspect(seg("first", text))
    assert inspection.texts == ("first", "write to [redacted:email], soon")


def test_what_overlaps_is_replaced_once(secrets):
    runner = build_runner({"secrets": Mode.REDACT, "deny": Mode.REDACT}, deny_phrases=["password"], max_chars=1000)
    text = f"a {secrets['assigned_secret']} b"
    out = runner.inspect(seg(text)).texts[0]
    assert secrets["assigned_secret"].split(" = ")[1] not in out
    assert out.endswith(" b")


def test_nothing_is_found_across_two_segments():
    assert modes(pii="block").inspect(seg("4111 1111 ", "1111 1111")).findings == ()


def test_no_finding_and_no_repr_holds_the_text(secrets, personal):
    runner = modes(secrets="block", pii="redact")
    for value in [*secrets.values(), *personal.values()]:
        inspection = runner.inspect(seg(f"the value is {value}"))
        assert value not in repr(inspection)
        assert value not in repr(seg(value))


def test_an_unknown_guard_stops_start_up():
    with pytest.raises(Invalid, match="there is no guard named pi1"):
        build_runner({"pi1": Mode.BLOCK}, max_chars=10)


@pytest.mark.parametrize("phrase", ["", " - ", "x" * 80, "a b c d e f g h i j k l m n o p q r s t u v", "größe"])
def test_a_phrase_that_cannot_be_denied_is_refused(phrase):
    with pytest.raises(Invalid):
        build_runner({"deny": Mode.BLOCK}, deny_phrases=[phrase], max_chars=10)


@pytest.mark.parametrize("text", ["project bluebird", "PROJECT_Bluebird", "xproject.-.bluebirdy", "Project\nbluebird"])
def test_a_denied_phrase_is_found_however_it_is_written(text):
    runner = build_runner({"deny": Mode.BLOCK}, deny_phrases=["Project Bluebird"], max_chars=1000)
    assert runner.inspect(seg(f"about {text}.")).action == "block"
    assert runner.inspect(seg("about a blue bird project")).action == "allow"


def test_a_text_too_long_is_blocked_even_in_mode_redact():
    runner = build_runner({"size": Mode.REDACT}, max_chars=10)
    assert runner.inspect(seg("a" * 11)).action == "block"
    assert runner.inspect(seg("a" * 10)).action == "allow"


class Failing:
    name = "failing"
    version = "1"

    def find(self, text):
        raise RuntimeError(text)

    def cursor(self):
        raise RuntimeError


def test_a_guard_that_fails_blocks_and_says_nothing_of_the_text():
    inspection = GuardRunner([(Failing(), Mode.DETECT)]).inspect(seg("top secret"))
    assert inspection.action == "block"
    assert [(f.kind, f.action) for f in inspection.findings] == [("guard_failed", "block")]
    assert "top secret" not in repr(inspection)


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\U0010ffff" * 10, ""])
def test_odd_text_is_inspected_like_any_other(text):
    runner = modes(secrets="block", pii="block", unicode="detect", size="block", deny="block")
    assert runner.inspect(seg(text)).action == "allow"


@pytest.mark.parametrize(
    "text",
    ["👩\u200d💻", "❤️", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "می\u200cخواهم", "क्\u200dष",
     "\ufeffstart", "1️⃣", "co\u00adoperate", "שלום \u200fabc"],
)  # fmt: skip
def test_signs_that_scripts_and_emoji_need_are_let_through(text):
    assert modes(unicode="block").inspect(seg(text)).findings == ()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("hello \U000e0068\U000e0069", "tag_characters"),
        ("pass\u200bword", "invisible_characters"),
        ("\u202eevil", "bidirectional_override"),
        ("a\ufe00\ufe01\ufe02", "invisible_characters"),
        ("x\u2062y", "invisible_characters"),
        ("mid\ufeffdle", "invisible_characters"),
    ],
)
def test_what_nobody_sees_is_found(text, kind):
    assert [f.kind for f in modes(unicode="block").inspect(seg(text)).findings] == [kind]


def test_each_module_declares_what_it_offers():
    for info in pkgutil.iter_modules(vallum.guards.__path__, "vallum.guards."):
        module = importlib.import_module(info.name)
        assert module.__all__ or info.ispkg, info.name
        assert all(hasattr(module, name) for name in module.__all__)
        public = {n for n, v in vars(module).items() if getattr(v, "__module__", "") == info.name and n[0] != "_"}
        assert {n for n in public if not n.endswith("Cursor")} <= set(module.__all__) | {
            "Assertion",
            "OwnedRule",
            "TooManyCandidates",
        }
    assert all(hasattr(vallum.guards, name) for name in vallum.guards.__all__)


def test_many_small_texts_are_as_large_as_one():
    runner = build_runner({"size": Mode.BLOCK, "pii": Mode.REDACT}, max_chars=100)
    assert runner.inspect(seg(*["x" * 10] * 10)).action == "allow"
    assert runner.inspect(seg(*["x" * 10] * 11)).action == "block"
    noting = build_runner({"size": Mode.DETECT}, max_chars=100)
    assert [f.kind for f in noting.inspect(seg(*["x" * 10] * 11)).findings] == ["oversized"]


def test_a_text_made_of_what_nearly_matches_is_refused_and_not_judged_for_minutes():
    inspection = modes(pii="detect").inspect(seg("1.2.3.4 " * 60_000))
    assert inspection.action == "block"
    assert "guard_failed" in [f.kind for f in inspection.findings]


@pytest.mark.parametrize(
    "text",
    ["4111\u00a01111\u00a01111\u00a01111", "\uff14111 1111 1111 1111", "\U0001d7d2111111111111111",
     "536\u201122\u20118726",     "jane@ex\uff41mple.com", "\u0664111111111111111"],
)  # fmt: skip
def test_what_only_looks_different_is_read_as_what_it_looks_like(text):
    inspection = modes(pii="redact").inspect(seg(f"it is {text} there"))
    assert inspection.action == "redact"
    assert text not in inspection.texts[0]
    assert inspection.texts[0].endswith(" there")


@pytest.mark.parametrize("text", ["4\ufe0f1\ufe0f1\ufe0f1", "AKIA\u00adIOSF", "12\u00ad34"])
def test_signs_that_would_hide_a_number_or_key_are_found(text):
    assert modes(unicode="block").inspect(seg(text)).action == "block"


def test_many_flags_are_read_in_one_pass():
    runner = modes(unicode="detect")
    flags = "\U0001f3f4\U000e0061\U000e0062\U000e007f" * 50_000
    assert runner.inspect(seg(flags)).action == "allow"


def test_a_key_with_something_invisible_in_it_is_a_key(secrets):
    runner = modes(secrets="redact", pii="redact")
    for value in (secrets["aws_access_key_id"], secrets["github_token"], "jane.doe@mail.example.com"):
        for unseen in ("\u200b", "\u00ad", "\u2060", "\ufe0f"):
            broken = unseen.join((value[:7], value[7:11], value[11:]))
            inspection = runner.inspect(seg(f"it is {broken} indeed"))
            assert inspection.action == "redact", (value, unseen)
            assert inspection.texts[0].startswith("it is [redacted:")
            assert inspection.texts[0].endswith("] indeed")


@pytest.mark.parametrize(
    "text",
    ["\u0e2a\u200b\u0e27\u0e31\u0e2a", "hello \u2068Anna\u2069, welcome", "\u202b\u05e9\u05dc\u05d5\u05dd\u202c"],
    ids=["Thai", "a formatted name", "Hebrew"],
)
def test_what_scripts_and_formatters_need_is_let_through(text):
    assert modes(unicode="block").inspect(seg(text)).action == "allow"


class Slow:
    name, version = "slow", "1"

    def find(self, text):
        time.sleep(0.03)
        return []

    def find_in(self, segments):
        time.sleep(0.03)
        return [[] for _ in segments]


@pytest.mark.parametrize("given", [{"guards": [(Slow(), Mode.DETECT)]}, {"segment_guards": [(Slow(), Mode.DETECT)]}])
def test_a_guard_that_takes_more_than_its_time_has_failed(given):
    arguments = {"guards": [], "segment_guards": [], **given}
    fast = GuardRunner(*arguments.values(), budget_seconds=0.01).inspect(seg("hello"))
    assert fast.action == "block"
    assert [(f.guard, f.kind) for f in fast.findings] == [("slow", "guard_failed")]
    assert GuardRunner(*arguments.values(), budget_seconds=5).inspect(seg("hello")).action == "allow"
