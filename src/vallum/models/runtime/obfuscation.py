"""Saying less, so that answers teach a copy of the model less: fewer digits, fewer classes, no scores.

Applied in the gateway and not by the model's process: what is withheld never leaves on that process's word.
"""

from typing import Any

from vallum.models.runtime.model import OutputPolicy, OutputTensor

__all__ = ["given_outputs", "obfuscated"]


def given_outputs(outputs: tuple[OutputTensor, ...], policy: OutputPolicy) -> tuple[OutputTensor, ...]:
    """Those that an answer may hold."""
    return tuple(output for output in outputs if output.role not in policy.withhold)


def obfuscated(output: OutputTensor, shape: list[int], values: list[Any], policy: OutputPolicy) -> list[Any]:
    if not output.datatype.startswith("FP"):
        return values
    if output.role == "probabilities" and policy.top_k is not None and len(shape) > 1 and shape[-1] > policy.top_k:
        values = _top(values, shape[-1], policy.top_k)
    if policy.round_digits is not None:
        digits = policy.round_digits
        values = [None if value is None else round(value, digits) for value in values]
    return values


def _top(values: list[Any], width: int, count: int) -> list[Any]:
    """Of equal ones the first stay, so that exactly `count` do."""
    kept: list[Any] = []
    for begin in range(0, len(values), width):
        row = values[begin : begin + width]
        order = sorted(range(width), key=lambda at: -1.0 if row[at] is None else row[at], reverse=True)
        best = set(order[:count])
        kept += [value if at in best else 0.0 for at, value in enumerate(row)]
    return kept
