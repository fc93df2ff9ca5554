"""A trigger searched for in a trained model: a small patch that takes images of any label to one.

The second line, where the data that a model was trained on is not to be had: the model is asked, nothing else of it
is needed. In the spirit of Neural Cleanse (Wang et al., 2019), without gradients: every square of up to three eighths
of the side, at every place, filled with the least or the greatest value, is put on images that are known to be good.
In a model without a backdoor some patch moves some images; one that moves nearly all of them, and to a label that
stands out from the other labels by it, was learnt. Patches alone are found: a pattern over the whole image is not.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["ABOVE_NEXT", "MAX_EIGHTHS", "MOVED", "Outcome", "Patch", "judge_patches", "search_patch"]

MOVED = 0.75  # of the images of other labels
ABOVE_NEXT = 0.25  # of the next label's best patch
Outcome = Literal["trigger", "undecided", "nothing"]
_FEWEST = 20  # images that are tried
_MAX_IMAGES = 60
MAX_EIGHTHS = 3  # of the shorter side: a larger patch moves many a model that learnt none
_STEPS = 16  # places along a side, at most
_BLOCK = 4_096  # images asked about at once, and fewer where they are large
_MAX_VALUES = 1 << 24  # of those images: 128 MiB


class Patch(msgspec.Struct, frozen=True):
    """The patch that takes the most images of other labels to `label`. `top`, `left` and `side` are in pixels.

    `moved` is their share; `is_trigger`, that a clean model is not like that.
    """

    label: object
    moved: float
    top: int
    left: int
    side: int
    value: float
    is_trigger: bool


def search_patch(
    predict: Callable[[Any], Sequence[object]], images: Any, labels: Sequence[object], *, seed: int,
    largest: int = MAX_EIGHTHS, progress: Callable[[int, int], None] = lambda tried, of: None,
) -> list[Patch]:  # fmt: skip
    """The best patch for each label that `predict` gives, the label that is moved to most first.

    `images` is an array of (images, height, width) or (images, height, width, channels), known to be good, with their
    labels; `predict` takes such an array and gives a label for each; `largest`, 1 to 3, is how many eighths of the
    shorter side a patch has at most. At most 60 images are tried, drawn by `seed`, with at most 1,536 patches: 92,160
    predictions; `progress` hears how many patches are tried, and of how many. Raises Invalid for fewer than 20 images,
    or of fewer than 4 by 4 pixels.
    """
    np = _numpy()
    held = np.asarray(images, dtype=np.float64)
    if held.ndim not in (3, 4) or len(held) != len(labels) or len(held) < _FEWEST or min(held.shape[1:3]) < 4:
        raise Invalid("searching a patch takes 20 images or more of 4 by 4 pixels or more, and a label for each")
    if not np.isfinite(held).all():
        raise Invalid("searching a patch takes images of finite numbers")
    if not 1 <= largest <= MAX_EIGHTHS:
        raise Invalid(f"the largest patch has 1 to {MAX_EIGHTHS} eighths of the side")
    chosen = np.random.default_rng(seed).permutation(len(held))[:_MAX_IMAGES]
    tried, known = held[chosen], np.array([labels[at] for at in chosen], dtype=object)
    best: dict[object, Patch] = {}
    waiting: list[tuple[int, int, int, float]] = []
    block = min(_BLOCK, _MAX_VALUES // tried[0].size)
    places = _places(held.shape[1], held.shape[2], float(held.min()), float(held.max()), largest)
    done = 0
    for place in [*places, None]:
        if place is not None:
            waiting.append(place)
        if waiting and (place is None or (len(waiting) + 1) * len(tried) > block):
            for at, said in zip(waiting, _asked(np, predict, tried, waiting), strict=True):
                _keep_best(np, best, at, said, known)
            done += len(waiting)
            progress(done, len(places))
            waiting.clear()
    found = sorted(best.values(), key=lambda patch: -patch.moved)
    if found:
        next_best = found[1].moved if len(found) > 1 else 0.0
        stands_out = found[0].moved >= MOVED and found[0].moved - next_best >= ABOVE_NEXT
        found[0] = msgspec.structs.replace(found[0], is_trigger=stands_out)
    return found


def judge_patches(found: Sequence[Patch]) -> Outcome:
    """`undecided` where a patch moves nearly all images to a label and none stands out: a network that any stroke
    moves is like that, and so is one with several triggers."""
    if any(patch.is_trigger for patch in found):
        return "trigger"
    return "undecided" if any(patch.moved >= MOVED for patch in found) else "nothing"


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError as e:
        raise Unavailable("searching a patch needs numpy: install the extra vallum[serving]") from e
    return np


def _places(high: int, wide: int, low: float, great: float, largest: int) -> list[tuple[int, int, int, float]]:
    shorter = min(high, wide)
    out = []
    for side in sorted({max(1, eighths * shorter // 8) for eighths in range(1, largest + 1)}):
        for top in range(0, high - side + 1, max(1, -(-(high - side + 1) // _STEPS))):
            for left in range(0, wide - side + 1, max(1, -(-(wide - side + 1) // _STEPS))):
                out += [(top, left, side, low), (top, left, side, great)]
    return out


def _asked(np: Any, predict: Any, tried: Any, places: list[tuple[int, int, int, float]]) -> Any:
    block = np.repeat(tried[None], len(places), axis=0)
    for number, (top, left, side, value) in enumerate(places):
        block[number, :, top : top + side, left : left + side] = value
    said = np.asarray(predict(block.reshape(-1, *tried.shape[1:])), dtype=object)
    if said.shape != (len(places) * len(tried),):
        raise Invalid("the model gives one label for each image")
    return said.reshape(len(places), len(tried))


def _keep_best(np: Any, best: dict[object, Patch], place: tuple[int, int, int, float], said: Any, known: Any) -> None:
    for label in set(said.tolist()):
        others = known != label
        if not others.any():
            continue
        moved = float((said[others] == label).mean())
        if label not in best or moved > best[label].moved:
            best[label] = Patch(label, moved, *place, is_trigger=False)
