"""CVSS base scores from their vectors: versions 2.0, 3.0 and 3.1.

The formulas are those of FIRST's specifications. Version 4.0 scores by a table of 270 classes; its vectors are kept and
their level taken from the advisory's database, not computed.
"""

import re
from collections.abc import Mapping

__all__ = ["base_score"]

_V3: Mapping[str, Mapping[str, float]] = {
    "AV": {"N": 0.85, "A": 0.62, "L": 0.55, "P": 0.2},
    "AC": {"L": 0.77, "H": 0.44},
    "PR": {"N": 0.85, "L": 0.62, "H": 0.27},
    "UI": {"N": 0.85, "R": 0.62},
    "S": {"U": 0, "C": 1},
    "C": {"H": 0.56, "L": 0.22, "N": 0},
    "I": {"H": 0.56, "L": 0.22, "N": 0},
    "A": {"H": 0.56, "L": 0.22, "N": 0},
}
_V3_PR_CHANGED = {"N": 0.85, "L": 0.68, "H": 0.5}
_V2: Mapping[str, Mapping[str, float]] = {
    "AV": {"L": 0.395, "A": 0.646, "N": 1.0},
    "AC": {"H": 0.35, "M": 0.61, "L": 0.71},
    "Au": {"M": 0.45, "S": 0.56, "N": 0.704},
    "C": {"N": 0.0, "P": 0.275, "C": 0.660},
    "I": {"N": 0.0, "P": 0.275, "C": 0.660},
    "A": {"N": 0.0, "P": 0.275, "C": 0.660},
}
_V3_PREFIX = re.compile(r"CVSS:3\.[01]/")


def base_score(vector: str) -> float | None:
    """From 0.0 to 10.0; None for a vector that is malformed, incomplete or of another version. Never raises."""
    if len(vector) > 512:
        return None
    if _V3_PREFIX.match(vector):
        metrics = _metrics(vector.split("/")[1:], _V3)
        return _score_v3(metrics) if metrics is not None else None
    if vector.startswith("CVSS:"):
        return None
    metrics = _metrics(vector.strip("()").split("/"), _V2)
    return _score_v2(metrics) if metrics is not None else None


def _metrics(parts: list[str], known: Mapping[str, Mapping[str, float]]) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for part in parts:
        name, _, value = part.partition(":")
        if name in found:
            return None
        found[name] = value
    return found if all(found.get(name) in values for name, values in known.items()) else None


def _score_v3(metrics: Mapping[str, str]) -> float:
    weight = {name: values[metrics[name]] for name, values in _V3.items()}
    changed = metrics["S"] == "C"
    base = 1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"])
    impact = 7.52 * (base - 0.029) - 3.25 * (base - 0.02) ** 15 if changed else 6.42 * base
    if impact <= 0:
        return 0.0
    privileges = _V3_PR_CHANGED[metrics["PR"]] if changed else weight["PR"]
    exploitability = 8.22 * weight["AV"] * weight["AC"] * privileges * weight["UI"]
    return _round_up(min((1.08 if changed else 1.0) * (impact + exploitability), 10.0))


def _round_up(score: float) -> float:
    """To the tenth above, without floating point's noise. Source: CVSS 3.1, appendix A."""
    whole = round(score * 100_000)
    return whole / 100_000 if whole % 10_000 == 0 else (whole // 10_000 + 1) / 10


def _score_v2(metrics: Mapping[str, str]) -> float:
    weight = {name: values[metrics[name]] for name, values in _V2.items()}
    impact = 10.41 * (1 - (1 - weight["C"]) * (1 - weight["I"]) * (1 - weight["A"]))
    exploitability = 20 * weight["AV"] * weight["AC"] * weight["Au"]
    return round((0.6 * impact + 0.4 * exploitability - 1.5) * (1.176 if impact else 0.0), 1)
