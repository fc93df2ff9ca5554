"""Is the canary worse? A test that may be looked at after every block of requests, and still keeps its promise.

Two streams of yes and no (failed or not, slow or not): the canary's and the stable release's. Under the hypothesis
that the canary is not worse (its rate is at most the stable one's, block by block, whatever both do over time) each
block multiplies the evidence by

    e = (c/m)^yes_c · ((1-c)/(1-m))^no_c · (s/m)^yes_s · ((1-s)/(1-m))^no_s,    m = (n_c·c + n_s·s) / (n_c + n_s)

for rates c > s chosen before the block is seen. Its expectation is at most 1: each factor's is 1 + (p-m)(q-m)/(m(1-m))
for a true rate p and a chosen one q, at most exp of the second term, and the terms add up to
n_c(c-m)(p_c-p_s)/(m(1-m)), which is not positive while p_c is at most p_s. So the product is a supermartingale, and by
Ville's inequality it ever reaches 1/a with a chance of at most a: the false-alarm budget holds for a whole trial,
however often somebody looks. Several choices of c run side by side, with an equal share of the stake each, since nobody
knows how bad a canary is.
Source: Turner, Ly, Grünwald, "Generic E-variables for exact sequential k-sample tests" (2024).

Assumed: requests of one block fail independently. A client that repeats one failing request breaks that; what counts
as a failure is the model's fault alone, never the request's.
"""

from math import exp, log, log1p

import msgspec

__all__ = ["Block", "Evidence", "evidence_limit", "updated"]

_RATIOS = (1.5, 2.0, 4.0, 8.0, 32.0)  # how many times worse the canary may be
_PRIOR_YES, _PRIOR_ALL = 0.5, 50.0  # before anything is seen, one in a hundred fails
_LEAST, _MOST = 1e-5, 1 - 1e-5
_LONGEST_LOG = 700.0  # exp of more is no float


class Block(msgspec.Struct, frozen=True):
    """Of `canary_all` requests `canary_yes` failed, and so for the stable release."""

    canary_yes: int
    canary_all: int
    stable_yes: int
    stable_all: int

    def __post_init__(self) -> None:
        if not (0 <= self.canary_yes <= self.canary_all and 0 <= self.stable_yes <= self.stable_all):
            raise ValueError("of a number of requests, at most all failed")


class Evidence(msgspec.Struct, frozen=True):
    """Everything seen so far: totals, and the logarithm of each bet's product."""

    canary_yes: int = 0
    canary_all: int = 0
    stable_yes: int = 0
    stable_all: int = 0
    logs: tuple[float, ...] = (0.0,) * len(_RATIOS)

    @property
    def value(self) -> float:
        """The evidence that the canary is worse: 1 is none, and at `evidence_limit` it is enough."""
        top = max(self.logs)
        return exp(min(top, _LONGEST_LOG)) * sum(exp(one - top) for one in self.logs) / len(self.logs)


def evidence_limit(false_alarms: float) -> float:
    """What evidence must reach, for a chance of at most `false_alarms` that a good canary is ever stopped by it."""
    if not 0 < false_alarms < 1:
        raise ValueError("a false-alarm budget lies between 0 and 1")
    return 1 / false_alarms


def updated(evidence: Evidence, block: Block) -> Evidence:
    """With one more block. Bets are chosen by what was seen before it alone. A block of one side only says nothing."""
    logs = evidence.logs
    if block.canary_all and block.stable_all:
        base = (evidence.stable_yes + _PRIOR_YES) / (evidence.stable_all + _PRIOR_ALL)
        logs = tuple(known + _log_factor(block, base, ratio) for known, ratio in zip(logs, _RATIOS, strict=True))
    return Evidence(
        evidence.canary_yes + block.canary_yes,
        evidence.canary_all + block.canary_all,
        evidence.stable_yes + block.stable_yes,
        evidence.stable_all + block.stable_all,
        logs,
    )


def _log_factor(block: Block, base: float, ratio: float) -> float:
    stable = min(max(base, _LEAST), _MOST)
    odds = ratio * stable / (1 - stable)
    canary = min(odds / (1 + odds), _MOST)
    if canary <= stable:
        return 0.0
    mean = (block.canary_all * canary + block.stable_all * stable) / (block.canary_all + block.stable_all)
    return _log_likelihood(block.canary_yes, block.canary_all, canary, mean) + _log_likelihood(
        block.stable_yes, block.stable_all, stable, mean
    )


def _log_likelihood(yes: int, of: int, rate: float, mean: float) -> float:
    return yes * log(rate / mean) + (of - yes) * (log1p(-rate) - log1p(-mean))
