"""Names, places and whatever else Presidio's recognisers know, beside the kinds that have a form of their own.

Rules cannot find a name; a recogniser guesses. So what it finds has a score, and its kinds are `name_…`: an exception
or a mode can treat them apart from what is certain. Needs the extra `presidio` and a language model of spaCy's,
Stanza's or a transformer, which are no packages of the index: install one, and name it in a file as Presidio's
documentation says. https://microsoft.github.io/presidio/analyzer/nlp_engines/
"""

import os
from collections.abc import Sequence
from typing import Any

from vallum.guards.port import Finding
from vallum.guards.sentences import SentenceCursor, moved, sentences
from vallum.kernel.errors import Invalid

__all__ = ["PresidioGuard", "build"]

NAME = "presidio"
FILE_VARIABLE = "VALLUM_PRESIDIO_FILE"
_KINDS = ("PERSON", "LOCATION", "NRP", "ORGANIZATION")  # those that Vallum's own rules have no form for


class PresidioGuard:
    """Reads sentence by sentence, so that a stream is found the same in. Thread-safe as the analyzer is."""

    name = NAME

    def __init__(
        self, analyzer: Any, *, kinds: Sequence[str] = _KINDS, language: str = "en", threshold: float = 0.5
    ) -> None:
        """`analyzer` is a `presidio_analyzer.AnalyzerEngine`; `kinds` are Presidio's entities.

        Raises Invalid where the analyzer knows none of them: it would find nothing and say so of everything.
        """
        self._analyzer = analyzer
        supported = set(analyzer.get_supported_entities(language=language))
        self._kinds = [kind for kind in kinds if kind in supported]
        if not self._kinds:
            known = ", ".join(sorted(supported)) or "nothing"
            raise Invalid(f"Presidio is to look for {', '.join(kinds)} and knows {known} in the language {language}")
        self._language = language
        self._threshold = threshold
        self.version = f"1+{_version()}"

    def find(self, text: str) -> Sequence[Finding]:
        return [
            finding
            for start, end in sentences(text, final=True)
            for finding in moved(self._find(text[start:end]), start)
        ]

    def cursor(self) -> SentenceCursor:
        return SentenceCursor(self._find)

    def _find(self, sentence: str) -> list[Finding]:
        if not sentence.strip():
            return []
        readable = sentence.encode("utf-8", "replace").decode()  # a lone surrogate is one character, before and after
        found = self._analyzer.analyze(
            readable, language=self._language, entities=self._kinds, score_threshold=self._threshold
        )
        reason = "a recogniser of names takes it for one"
        return [
            Finding(
                NAME, self.version, f"name_{r.entity_type.lower()}", r.start, r.end, round(float(r.score), 4), reason
            )
            for r in found
        ]


def build() -> PresidioGuard:
    """The entry point: Presidio as the file that VALLUM_PRESIDIO_FILE names says, else as it is by default."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    file = os.environ.get(FILE_VARIABLE)
    if file is None:
        return PresidioGuard(AnalyzerEngine())
    engine = NlpEngineProvider(conf_file=file).create_engine()
    languages = list(engine.get_supported_languages())
    analyzer = AnalyzerEngine(nlp_engine=engine, supported_languages=languages)
    return PresidioGuard(analyzer, language=languages[0])


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("presidio-analyzer")
    except PackageNotFoundError:  # an analyzer of somebody's own that speaks the same
        return "0"
