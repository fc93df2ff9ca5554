"""The checks that environments demand: each over live state, and each failing when it cannot be run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from vallum.kernel.errors import IntegrityError, VallumError
from vallum.releases.indexes import Indexes
from vallum.releases.manifest import Manifest, ManifestModel, index_version
from vallum.releases.model import CheckResult, Evidence, Release
from vallum.releases.ports import Cards, DataSets, ModelRegistry
from vallum.releases.rules import CheckName, ReleaseRules

__all__ = ["Checks"]

_Found = tuple[bool, str, str]  # passed, what was found, what to do


@dataclass(frozen=True, slots=True)
class Checks:
    """`cards` and `data` are None where nothing here knows of model cards or of data sets."""

    rules: ReleaseRules
    registry: ModelRegistry
    cards: Cards | None = None
    data: DataSets | None = None

    def run(
        self, conn: Connection, release: Release, manifest: Manifest, evidence: Sequence[Evidence], environment: str
    ) -> tuple[CheckResult, ...]:
        """Everything that `environment` demands of the release's classes, in a fixed order."""
        return tuple(
            self._checked(check, conn, release, manifest, evidence)
            for check in self.rules.demanded(environment, manifest)
        )

    def _checked(
        self, check: CheckName, conn: Connection, release: Release, manifest: Manifest, evidence: Sequence[Evidence]
    ) -> CheckResult:
        try:
            match check:
                case "scan":
                    found = _of_each(manifest, lambda model: self._scan(conn, model))
                case "signature":
                    found = _of_each(manifest, lambda model: self._signature(conn, model))
                case "card":
                    found = _of_each(manifest, lambda model: self._card(conn, manifest, model))
                case "data":
                    found = self._data(conn, release, manifest, evidence)
                case "tests" | "threats":
                    found = _said(release, evidence, check)
        except IntegrityError as e:
            remedy = "restore what was altered, or upload it anew and build a release with that"
            return CheckResult(check, False, f"the check could not be run: {e}", remedy)
        except VallumError as e:
            return CheckResult(check, False, f"the check could not be run: {e}", f"vallum release check {release.id}")
        return CheckResult(check, *found)

    def _scan(self, conn: Connection, model: ManifestModel) -> _Found:
        version = self.registry.version(conn, model.name, model.version)
        where = f"{model.name}/{model.version}"
        if version.verdict == "pass":
            return True, f"{where}: pass", ""
        if version.verdict == "review" and version.reviewed_by:
            return True, f"{where}: reviewed by {version.reviewed_by}", ""
        remedy = f"vallum models show {where}, then register a version that passes and build a release with it"
        return False, f"{where}: the scanner's verdict is {version.verdict}", remedy

    def _signature(self, conn: Connection, model: ManifestModel) -> _Found:
        version = self.registry.version(conn, model.name, model.version)
        where = f"{model.name}/{model.version}"
        remedy = "vallum models sign PATH --key FILE, then register the signed version and build a release with it"
        if not version.signer:
            return False, f"{where}: nobody signed it", remedy
        if self.rules.signers and version.signer not in self.rules.signers:
            return False, f"{where}: signed by {version.signer}, whose signature does not count here", remedy
        return True, f"{where}: signed by {version.signer}", ""

    def _card(self, conn: Connection, manifest: Manifest, model: ManifestModel) -> _Found:
        where = f"{model.name}/{model.version}"
        if self.cards is None:
            return False, f"{where}: the check could not be run: nothing here knows of model cards", ""
        card = self.cards.score(conn, model.name, model.version)
        remedy = (
            f"vallum models describe {where} shows what is missing: complete README.md, and upload a version with it"
        )
        if card is None:
            return False, f"{where}: it has no model card", remedy
        least = self.rules.card_scores.least(manifest.risk_class)
        if card.missing or card.score < least:
            missing = f", without {', '.join(card.missing)}" if card.missing else ""
            return False, f"{where}: its card is {card.score} % complete{missing}; {least} % are asked for", remedy
        return True, f"{where}: its card is {card.score} % complete", ""

    def _data(self, conn: Connection, release: Release, manifest: Manifest, evidence: Sequence[Evidence]) -> _Found:
        """Approved as far as the platform knows the data sets; for the others a data steward says so."""
        indexes = Indexes(self.data)
        unapproved, held = indexes.unapproved(conn, manifest), indexes.held(conn, manifest, release.id)
        if unapproved is not None:
            return False, f"it retrieves from {unapproved}, not approved", f"vallum data approve {unapproved}"
        if held:
            what = f"rows that it retrieves from were quarantined with {', '.join(held)}"
            return False, what, "vallum data quarantine list, then build a release with a version without them"
        unknown = [index.name for index in manifest.indexes if index_version(index.name) is None]
        for model in manifest.models:
            found = None if self.data is None else self.data.unapproved(conn, model.name, model.version)
            if found:
                remedy = f"vallum data approve {found[0]}"
                return False, f"{model.name}/{model.version} was trained on {', '.join(found)}, not approved", remedy
            if found is None:
                unknown.append(f"{model.name}/{model.version}")
        if not unknown:
            rests = manifest.models or manifest.indexes
            return True, "every data set is approved" if rests else "it rests on no data", ""
        return _said(release, evidence, "data")


def _of_each(manifest: Manifest, check: Callable[[ManifestModel], _Found]) -> _Found:
    """The first that fails, or all that passed."""
    found = []
    for model in manifest.models:
        passed, what, remedy = check(model)
        if not passed:
            return False, what, remedy
        found.append(what)
    return True, "; ".join(found) or "there are no models in it", ""


def _said(release: Release, evidence: Sequence[Evidence], kind: str) -> _Found:
    """The newest word counts."""
    newest = next((one for one in reversed(evidence) if one.kind == kind), None)
    remedy = f"vallum release attest {release.id} {kind} --passed --report FILE"
    if newest is None:
        return False, _MISSING[kind], remedy
    if not newest.passed:
        return False, f"{newest.by} says that it does not pass ({newest.id})", remedy
    return True, f"{newest.by} says so ({newest.id})", ""


_MISSING = {
    "data": "no data steward has said that the data is approved",
    "tests": "there is no result of tests",
    "threats": "nobody has reviewed the threat model",
}
