"""What a sample can promise. The bounds are binomial: sampling without return finds no less than they say.

`p` is the share of values that hold a kind, `n` how many were read, drawn at random: a sample that shows none has
missed it with probability (1 - p) ** n.
"""

from math import ceil, log, log1p

from vallum.kernel.errors import Invalid

__all__ = ["detection_probability", "missed_at_most", "sample_size"]


def detection_probability(read: int, share: float, recall: float = 1.0) -> float:
    """How likely a sample of `read` values shows what `share` of all hold, where one is recognised with `recall`."""
    _check(share, "share")
    _check(recall, "recall")
    return float(1.0 - (1.0 - share * recall) ** read)


def missed_at_most(read: int, total: int, confidence: float = 0.95, recall: float = 1.0) -> float:
    """The largest share that a sample showing none may have missed, at this confidence; 0 once all were read.

    `recall` is how often one that is read is recognised: a full scan misses what is not recognised too, and says so
    by the figures of the rules, not here.
    """
    _check(confidence, "confidence")
    _check(recall, "recall")
    if read >= total:
        return 0.0
    if read == 0 or recall == 0:
        return 1.0
    return float(min(1.0, (1.0 - (1.0 - confidence) ** (1.0 / read)) / recall))


def sample_size(share: float, confidence: float = 0.95, recall: float = 1.0) -> int:
    """How many values must be read to find, at this confidence, a kind that `share` of all hold."""
    _check(share, "share")
    _check(confidence, "confidence")
    _check(recall, "recall")
    if share * recall <= 0 or confidence >= 1:
        raise Invalid("no sample finds with certainty, or what is not there: scan in full")
    if share * recall >= 1:
        return 1
    return ceil(log(1.0 - confidence) / log1p(-share * recall))


def _check(value: float, name: str) -> None:
    if not 0 <= value <= 1:
        raise Invalid(f"{name} is from 0 to 1, not {value}")
