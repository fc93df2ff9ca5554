"""The corpus that scanners are compared on: generated, so that its variants are written down as rules, not as files."""

from collections.abc import Iterator

from scanner_corpus import benign, containers, formats, pickles, texts
from scanner_corpus.sample import Sample

__all__ = ["Sample", "samples"]


def samples() -> Iterator[Sample]:
    for family in (pickles, containers, formats, texts, benign):
        yield from family.samples()
