"""What an environment demands before a release runs there: approvals, and checks by the release's classes.

Declared in a file, with defaults that stand in for none. A rule adds checks to the environments and classes it names;
what is demanded is everything that any fitting rule adds, so that no rule lifts another.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from vallum.kernel.errors import Invalid
from vallum.releases.manifest import Classification, Manifest, RiskClass

__all__ = ["DEFAULT_RULES", "CheckName", "EnvironmentRule", "ReleaseRules", "load_rules"]

CheckName = Literal["scan", "signature", "card", "data", "tests", "threats"]
EnvironmentName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
_MAX_RULES_BYTES = 262_144


class EnvironmentRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`approvals` by as many human beings, none of them the one who asked or built."""

    name: EnvironmentName
    approvals: Annotated[int, Meta(ge=0, le=5)] = 1


class CheckRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checks` are demanded where all that is named here fits; what is not named fits everything."""

    checks: Annotated[tuple[CheckName, ...], Meta(min_length=1)]
    environments: tuple[EnvironmentName, ...] = ()
    classifications: tuple[Classification, ...] = ()
    risk_classes: tuple[RiskClass, ...] = ()

    def fits(self, environment: str, manifest: Manifest) -> bool:
        return (
            (not self.environments or environment in self.environments)
            and (not self.classifications or manifest.classification in self.classifications)
            and (not self.risk_classes or manifest.risk_class in self.risk_classes)
        )


class CardScores(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The least score of a model's card, of 100, by the release's risk class."""

    minimal: Annotated[int, Meta(ge=0, le=100)] = 50
    limited: Annotated[int, Meta(ge=0, le=100)] = 70
    high: Annotated[int, Meta(ge=0, le=100)] = 90

    def least(self, risk_class: RiskClass) -> int:
        return {"minimal": self.minimal, "limited": self.limited, "high": self.high}[risk_class]


class ReleaseRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Environments in the order that releases go through them. `signers` are whose signatures on models count;
    empty: anybody whom the registry took one from."""

    environment: Annotated[tuple[EnvironmentRule, ...], Meta(min_length=1, max_length=20)]
    rule: Annotated[tuple[CheckRule, ...], Meta(max_length=200)]
    signers: tuple[str, ...] = ()
    card_scores: CardScores = CardScores()

    def __post_init__(self) -> None:
        names = [one.name for one in self.environment]
        if len(set(names)) != len(names):
            raise ValueError("an environment is there more than once")
        unknown = sorted({name for rule in self.rule for name in rule.environments} - set(names))
        if unknown:
            raise ValueError(f"rule: there is no environment {unknown[0]}")

    def names(self) -> tuple[str, ...]:
        return tuple(one.name for one in self.environment)

    def find(self, name: str) -> EnvironmentRule | None:
        return next((one for one in self.environment if one.name == name), None)

    def before(self, name: str) -> str | None:
        """The environment that a release comes from; None for the first."""
        at = self.names().index(name)
        return self.environment[at - 1].name if at else None

    def demanded(self, environment: str, manifest: Manifest) -> tuple[CheckName, ...]:
        """In the order that they stand in `CheckName`."""
        wanted = {check for rule in self.rule if rule.fits(environment, manifest) for check in rule.checks}
        return tuple(check for check in CHECK_NAMES if check in wanted)


CHECK_NAMES: tuple[CheckName, ...] = ("scan", "signature", "card", "data", "tests", "threats")

DEFAULT_RULES = ReleaseRules(
    environment=(EnvironmentRule("dev", 0), EnvironmentRule("test", 1), EnvironmentRule("prod", 1)),
    rule=(
        CheckRule(("scan", "signature")),
        CheckRule(("card", "tests"), environments=("test", "prod")),
        CheckRule(("data",), environments=("prod",)),
        CheckRule(("threats",), environments=("prod",), classifications=("confidential", "restricted")),
        CheckRule(("threats",), environments=("prod",), risk_classes=("limited", "high")),
    ),
)


def load_rules(file: Path | None) -> ReleaseRules:
    """From a TOML file, or the defaults. Raises Invalid, naming the place."""
    if file is None:
        return DEFAULT_RULES
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_RULES_BYTES + 1)
        if len(raw) > _MAX_RULES_BYTES:
            raise Invalid(f"{file}: larger than {_MAX_RULES_BYTES} bytes")
        return msgspec.convert(tomllib.loads(raw.decode()), ReleaseRules)
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror}") from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, msgspec.ValidationError) as e:
        raise Invalid(f"{file}: {e}") from e
