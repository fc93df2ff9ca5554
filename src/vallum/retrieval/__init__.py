"""Retrieval: passages of documents that fit a question. The first cut serves the demonstration's documents."""

from vallum.retrieval.passages import Passage, PassageIndex

__all__ = ["Passage", "PassageIndex"]
