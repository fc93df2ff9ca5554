"""Passages of documents, found by BM25 in SQLite's full-text index.

An index is made in memory from files that come with the application; a question is reduced to its words before it
becomes a query, so that no query syntax of a stranger's reaches the index.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from threading import Lock

__all__ = ["Passage", "PassageIndex"]

_WORD = re.compile(r"[^\W_]{2,40}")
_MAX_WORDS = 32  # a longer question is no more specific, only more work
_COMMON = frozenset({
    "a", "about", "an", "and", "any", "are", "as", "at", "be", "but", "by", "can", "could", "did", "do", "does",
    "for", "from", "get", "give", "had", "has", "have", "he", "her", "him", "his", "how", "i", "if", "in", "into",
    "is", "it", "its", "just", "many", "me", "more", "much", "must", "my", "no", "not", "of", "on", "or", "our",
    "please", "say", "she", "should", "so", "some", "tell", "than", "that", "the", "their", "them", "then", "there",
    "these", "they", "this", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which", "who", "why",
    "will", "with", "would", "you", "your",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Passage:
    """One paragraph, word for word, under its heading."""

    source: str
    heading: str
    text: str


class PassageIndex:
    """Read-only once made. Safe to share between threads."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        """`documents` are Markdown texts by name; a paragraph is a passage."""
        self._lock = Lock()
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute(
            "CREATE VIRTUAL TABLE passages USING fts5"
            "(source UNINDEXED, heading, text, tokenize = 'porter unicode61 remove_diacritics 2')"
        )
        rows = [(p.source, p.heading, p.text) for name, text in documents.items() for p in _passages(name, text)]
        self._db.executemany("INSERT INTO passages VALUES (?, ?, ?)", rows)

    def search(self, question: str, limit: int) -> list[Passage]:
        """The passages that fit best, best first; none when no word of the question occurs."""
        words = [w for w in _WORD.findall(question.lower()) if w not in _COMMON][-_MAX_WORDS:]
        if not words:
            return []
        query = " OR ".join(f'"{word}"' for word in dict.fromkeys(words))
        with self._lock:
            rows = self._db.execute(
                "SELECT source, heading, text FROM passages WHERE passages MATCH ? "
                "ORDER BY bm25(passages, 0.0, 2.0, 1.0) LIMIT ?",
                (query, limit),
            ).fetchall()
        return [Passage(*row) for row in rows]

    def close(self) -> None:
        self._db.close()


def _passages(source: str, markdown: str) -> Iterator[Passage]:
    heading = source
    for block in re.split(r"\n\s*\n", markdown):
        text = " ".join(block.split())
        if text.startswith("#"):
            heading = text.lstrip("# ")
        elif text:
            yield Passage(source, heading, text)
