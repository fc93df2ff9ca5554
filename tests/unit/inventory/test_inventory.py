import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vallum.inventory import (
    Configuration,
    ConfigurationRefused,
    Inventory,
    PlanMoved,
    parse_files,
    read_files,
    render_plan,
)
from vallum.inventory.network import problem_with_url
from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import Invalid
from vallum.kernel.store.epochs import EpochWatch
from vallum.kernel.values import AssetRef

FILE = """
[providers.local]
kind = "openai"
url = "http://127.0.0.1:8000/v1"

[models.small]
provider = "local"

[applications.support]
owner = "ada@example.org"
models = ["small"]

[applications.support.limits]
requests_per_minute = 60
"""


@pytest.fixture
def inventory(records):
    return Inventory(records, SystemClock())


@pytest.fixture
def apply(inventory, records):
    def _apply(text, **options):
        with records.write() as conn:
            plan = inventory.apply(conn, parse_files({"a.toml": text}), **options)
        inventory.refresh()
        return plan

    return _apply


def test_what_is_applied_is_in_force(inventory, apply):
    plan = apply(FILE)
    assert [(c.action, c.kind, c.name) for c in plan.changes] == [
        ("add", "applications", "support"), ("add", "models", "small"), ("add", "providers", "local"),
    ]  # fmt: skip
    assert inventory.application("support").limits.requests_per_minute == 60
    facts = inventory.facts(AssetRef("Application", "support"))
    assert facts.attributes == {
        "tenant": "default", "owner": "ada@example.org", "classification": "internal", "enabled": True,
        "models": ["small"],
    }  # fmt: skip
    assert inventory.facts(AssetRef("Model", "other")) is None


def test_applying_twice_changes_nothing(apply):
    apply(FILE)
    plan = apply(FILE)
    assert plan.changes == ()
    assert render_plan(plan) == "nothing to change"


def test_a_plan_names_each_field_that_changes(apply, inventory, records):
    apply(FILE)
    with records.read() as conn:
        plan = inventory.plan(conn, parse_files({"a.toml": FILE.replace("= 60", "= 90")}))
    assert render_plan(plan) == "~ applications.support\n    limits.requests_per_minute: 60 -> 90"


def test_a_change_gives_policy_a_new_version_even_after_a_removal(apply, inventory):
    apply(FILE)
    before = inventory.facts(AssetRef("Application", "support")).version
    apply('[providers.local]\nkind = "extractive"', prune=True)
    assert inventory.facts(AssetRef("Application", "support")) is None
    apply(FILE)
    assert inventory.facts(AssetRef("Application", "support")).version > before


def test_what_files_do_not_name_is_kept_unless_pruned(apply, inventory, records):
    apply(FILE)
    more = '[applications.other]\nowner = "bob"\nmodels = ["small"]'
    plan = apply(more)
    assert plan.kept == ("applications.support", "models.small", "providers.local")
    assert set(inventory.configuration.applications) == {"support", "other"}
    with records.read() as conn, pytest.raises(ConfigurationRefused, match="there is no model small"):
        inventory.plan(conn, parse_files({"a.toml": more}), prune=True)


def test_a_plan_that_moved_is_not_applied(apply, inventory, records):
    desired = parse_files({"a.toml": FILE})
    with records.read() as conn:
        digest = inventory.plan(conn, desired).digest
    apply('[providers.other]\nkind = "extractive"')
    with records.write() as conn, pytest.raises(PlanMoved):
        inventory.apply(conn, desired, digest)


def test_other_processes_follow(apply, inventory, records):
    other = Inventory(records, SystemClock())
    watch = EpochWatch(records)
    watch.subscribe("inventory", other.refresh)
    apply(FILE)
    watch.poll_once()
    assert other.model("small").provider == "local"


def test_every_problem_is_reported_together():
    text = """
    [providers.a]
    kind = "telnet"
    [providers.b]
    kind = "openai"
    api_key = "sk-something"
    [applications.c]
    ownr = "ada"
    [surprise.d]
    """
    with pytest.raises(ConfigurationRefused) as refused:
        parse_files({"a.toml": text, "b.toml": "not toml", "c.toml": "[providers.a]\nkind = 'extractive'"})
    shown = str(refused.value)
    for part in ("providers.a", "telnet", "vallum secrets put", "applications.c", "surprise", "b.toml: not TOML",
                 "declared in a.toml too"):  # fmt: skip
        assert part in shown
    assert "sk-something" not in shown


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (('provider = "local"', 'provider = "gone"'), "there is no provider gone"),
        (('["small"]', '["large"]'), "there is no model large"),
        (('owner = "ada@example.org"', 'owner = "ada"\nclassification = "restricted"'), "carries restricted"),
        (('provider = "local"', 'provider = "local"\nfallbacks = ["small"]'), "stand in for itself"),
        (('provider = "local"', 'provider = "local"\nfallbacks = ["big"]'), "there is no model big"),
        (("http://127.0.0.1:8000/v1", "http://models.example.org/v1"), "in the clear"),
        (("[applications.support.limits]", "[applications.support.limits_per_model.x]"), "may not use that model"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(inventory, records, change, problem):
    desired = parse_files({"a.toml": FILE.replace(*change)})
    with records.read() as conn, pytest.raises(ConfigurationRefused, match=problem):
        inventory.plan(conn, desired)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254/latest", "https://169.254.169.254/", "https://[fe80::1]/", "https://[fd00:ec2::254]/",
     "https://metadata.google.internal/", "https://[::ffff:169.254.169.254]/", "https://2852039166/",
     "https://[64:ff9b::a9fe:a9fe]/", "https://[2002:a9fe:a9fe::]/", "https://[::169.254.169.254]/",
     "https://169。254。169。254/", "https://0xA9FEA9FE/", "https://0251.0376.0251.0376/", "https://169.254.43518/", "https://0.0.0.0/",
     "ftp://example.org", "https://", "https://user:pass@example.org/", "https://example.org/?key=1",
     "https://exa mple.org/", "http://10.0.0.1/v1", "https://[", "", "https://example.org:99999/", "https://METADATA./"],
)  # fmt: skip
def test_a_url_no_provider_has_is_refused(url):
    assert problem_with_url(url, plain_http=False)


@pytest.mark.parametrize(
    "url", ["https://api.example.org/v1", "http://127.0.0.1:11434/v1", "http://localhost:8000", "http://[::1]:8000"]
)
def test_a_usual_url_is_accepted(url):
    assert problem_with_url(url, plain_http=False) is None


def test_plain_http_on_a_trusted_network_is_said_loudly():
    assert problem_with_url("http://10.0.0.1/v1", plain_http=True) is None
    assert problem_with_url("http://169.254.169.254/v1", plain_http=True)


@given(st.text(max_size=200))
def test_noise_is_refused_and_never_crashes(noise):
    problem_with_url(noise, plain_http=False)
    with contextlib.suppress(ConfigurationRefused):
        assert isinstance(parse_files({"noise.toml": noise}), Configuration)


def test_folders_and_files_are_read(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.toml").write_text(FILE)
    assert read_files(tmp_path) == {"sub/a.toml": FILE}
    assert read_files(tmp_path / "sub" / "a.toml") == {"a.toml": FILE}
    for path in (tmp_path / "gone", tmp_path / "empty"):
        with pytest.raises(Invalid):
            read_files(path)
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(Invalid, match="UTF-8"):
        read_files(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["a" + ".a" * 200_000 + " = 1", "[" + "a." * 200_000 + "a]", "x = {" + "a." * 5000 + "a = 1}",
     "a = " + "9" * 900_000,     "[" * 50_000, "x = " + "[" * 50_000],
)  # fmt: skip
def test_a_file_made_to_stall_the_parser_is_refused_at_once(text):
    with pytest.raises(ConfigurationRefused):
        parse_files({"a.toml": text})


def test_files_are_bounded_together():
    with pytest.raises(ConfigurationRefused, match="together"):
        parse_files({f"{n}.toml": "#" * 60_000 for n in range(20)})
