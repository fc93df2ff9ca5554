"""Rules: what is demanded of whom, and files that are none."""

import pytest

from vallum.kernel.errors import Invalid
from vallum.releases import DEFAULT_RULES, Manifest, load_rules

RULES = """
signers = ["key:builder"]
[[environment]]
name = "staging"
approvals = 0
[[environment]]
name = "live"
approvals = 2
[[rule]]
checks = ["scan"]
[[rule]]
environments = ["live"]
risk_classes = ["high"]
checks = ["threats", "card"]
"""


def manifest(classification="internal", risk_class="minimal"):
    return Manifest(1, "p", classification, risk_class, None, (), (), (), (), "0" * 64, None)


def test_the_defaults_ask_for_more_towards_prod_and_of_higher_classes():
    demanded = DEFAULT_RULES.demanded
    assert demanded("dev", manifest()) == ("scan", "signature")
    assert demanded("test", manifest()) == ("scan", "signature", "card", "tests")
    assert demanded("prod", manifest()) == ("scan", "signature", "card", "data", "tests")
    for strict in (
        manifest("confidential"),
        manifest("restricted"),
        manifest(risk_class="limited"),
        manifest("public", "high"),
    ):
        assert demanded("prod", strict) == ("scan", "signature", "card", "data", "tests", "threats")
    assert [DEFAULT_RULES.before(name) for name in DEFAULT_RULES.names()] == [None, "dev", "test"]
    assert [one.approvals for one in DEFAULT_RULES.environment] == [0, 1, 1]


def test_a_file_says_otherwise(tmp_path):
    (tmp_path / "rules.toml").write_text(RULES)
    rules = load_rules(tmp_path / "rules.toml")
    assert rules.names() == ("staging", "live")
    assert rules.demanded("live", manifest()) == ("scan",)
    assert rules.demanded("live", manifest(risk_class="high")) == ("scan", "card", "threats")
    assert rules.find("live").approvals == 2
    assert rules.find("prod") is None


@pytest.mark.parametrize(
    "text",
    [
        "", "x = 1", "[[environment]]\nname = 'dev'\n", RULES + "extra = 1\n", RULES.replace('"scan"', '"looks fine"'),
        RULES.replace('"live"', '"Live!"', 1), RULES.replace("approvals = 2", "approvals = -1"),
        RULES.replace('environments = ["live"]', 'environments = ["prod"]'), RULES.replace('"staging"', '"live"'),
        "[" * 2000, "\x00",
    ],
)  # fmt: skip
def test_files_that_are_none(tmp_path, text):
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(Invalid):
        load_rules(tmp_path / "rules.toml")
    with pytest.raises(Invalid, match="cannot be read"):
        load_rules(tmp_path / "absent.toml")
