"""Images and their labels from two .npy files, as somebody has them lying about: nothing in them is unpickled.

They are mapped and not read, so that of a large array only the images that are drawn take memory.
"""

import warnings
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple

from vallum.kernel.errors import Invalid, Unavailable

__all__ = ["LabelledImages", "draw_evenly", "read_labelled_images"]

_MAGIC = b"\x93NUMPY"
_MAX_IMAGE_VALUES = 1 << 19  # of one image, as 418 by 418 in three channels: the search holds 60 of them several times
_MAX_LABELS = 1 << 26
# What numpy lets through of the parsers that it reads a header with, beside its own ValueError.
_UNREADABLE = (ValueError, TypeError, OverflowError, SyntaxError, RecursionError, MemoryError, EOFError, TokenError)


class LabelledImages(NamedTuple):
    """`images` of (images, height, width) or (images, height, width, channels); `labels` are whole numbers or texts."""

    images: Any
    labels: Any

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, *channels = self.images.shape[1:]
        return height, width, channels[0] if channels else 1

    @property
    def are_texts(self) -> bool:
        return bool(self.labels.dtype.kind == "U")


def read_labelled_images(images: Path, labels: Path) -> LabelledImages:
    """Raises Invalid, which says what to change, and Unavailable without numpy."""
    pixels, names = _array(images), _array(labels)
    if pixels.dtype.kind not in "buif":
        raise Invalid(f"{images} holds {pixels.dtype}: images are numbers")
    if pixels.ndim not in (3, 4):
        raise Invalid(
            f"{images} has the shape {pixels.shape}: write images by height by width, and by channels where they have "
            "any; rows of pixels take array.reshape(-1, height, width)"
        )
    if min(pixels.shape[1:3]) < 4:
        hint = ", channels last: array.transpose(0, 2, 3, 1)" if pixels.ndim == 4 else ""
        raise Invalid(f"{images} has the shape {pixels.shape}: images are of 4 by 4 pixels or more{hint}")
    if pixels[0].size > _MAX_IMAGE_VALUES:
        raise Invalid(f"{images}: at most {_MAX_IMAGE_VALUES} numbers an image, so make them smaller")
    if names.ndim != 1 or names.dtype.kind not in "iuU" or len(names) > _MAX_LABELS:
        raise Invalid(f"{labels} holds {names.dtype} of shape {names.shape}: write one whole number or text an image")
    if len(names) != len(pixels):
        raise Invalid(f"{len(pixels)} images and {len(names)} labels: each image has one")
    return LabelledImages(pixels, names)


def draw_evenly(labels: Any, count: int, random: Any) -> Any:
    """The places of at most `count` labels, drawn by chance, each label as often as there are enough of it."""
    import numpy as np

    order = random.permutation(len(labels))
    _, numbers = np.unique(labels[order], return_inverse=True)
    by_label = np.argsort(numbers, kind="stable")  # runs of one label
    starts = np.searchsorted(numbers[by_label], numbers[by_label])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_label] = np.arange(len(labels)) - starts
    return order[np.argsort(rank, kind="stable")[:count]]


def _array(file: Path) -> Any:
    try:
        import numpy as np
    except ImportError as e:
        raise Unavailable("reading .npy files needs numpy: install the extra vallum[serving]") from e
    if not file.is_file():
        raise Invalid(f"{file}: there is no such file")
    try:
        with file.open("rb") as opened:
            magic = opened.read(len(_MAGIC))
        if magic != _MAGIC:
            raise Invalid(f"{file} is no .npy file: write one by numpy.save")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers that Python 2 wrote
            found = np.load(file, mmap_mode="r", allow_pickle=False)
    except OSError as e:
        raise Invalid(f"{file} cannot be read: {e.strerror or e}") from e
    except _UNREADABLE as e:
        raise Invalid(f"{file} is not an array of numbers or texts, written whole by numpy.save: {e}") from e
    if not found.size:
        raise Invalid(f"{file} is empty")
    return found
