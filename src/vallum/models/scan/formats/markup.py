"""XML: models of PMML and OpenVINO, pictures, and what else is written in it. No parser is run over it.

Answers entities that a parser fetches or multiplies (CWE-611, CWE-776), parts included from elsewhere, native libraries
that a network names for its layers, and code in a model that has no place for it.
"""

import re

from vallum.models.scan.languages.python_reading import SECRETS
from vallum.models.scan.languages.shell import harm_in_commands
from vallum.models.scan.languages.text import first_line, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Markup"]

_ENTITY = re.compile(
    r"<!ENTITY\s+(?:%\s+)?[^\s\"'>]{1,200}\s+(SYSTEM\b|PUBLIC\b|\"[^\"]{0,4096}\"|'[^']{0,4096}')", re.IGNORECASE
)
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]{0,100})")
_DOCTYPE = re.compile(
    r"(?i)<!DOCTYPE\s+[^\s>\[]{1,100}\s+(?:SYSTEM|PUBLIC\s+(?:\"[^\"]*\"|'[^']*'))\s+[\"']([^\"']{1,500})[\"']"
)
_KNOWN_DOCTYPES = re.compile(r"https?://(?:www\.)?(?:w3\.org|apple\.com|inkscape\.org|dmg\.org)/")
_INCLUDES = re.compile(
    r"(?i)<(?:xi|xinclude):include\b[^>]{0,500}\bhref\s*=\s*[\"']([^\"']{1,500})|<xsl:(?:include|import)\b[^>]{0,500}\bhref\s*=\s*[\"']([^\"']{1,500})"
)
_OF_MODELS = re.compile(
    r"(?i)(?:\w+:)?(?:PMML|net|caffe\w*|model|MLmodel|opencv_storage|weka\w*|rapidminer|pfa|nnef)\Z"
)
_LIBRARY = re.compile(r"(?i)\.(?:so(?:\.\d+){0,4}|dll|dylib|pyd)(?=[\"'<])")
_MAX_NAME = 300
_CODE = re.compile(
    r"__import__\s*\(|\bos\.(?:system|popen|exec\w+)\s*\(|\bsubprocess\.\w+\s*\(|\b(?:eval|exec)\s*\(|\bRuntime\.getRuntime\s*\(|\bProcessBuilder\b|java\.lang\.Runtime|\bActiveXObject\b|\bimportlib\b|\bpickle\.loads?\s*\("
)
_TOKENS = (
    "__import__", "os.", "subprocess.", "eval", "exec", "Runtime.", "ProcessBuilder", "java.lang.", "ActiveXObject",
    "importlib", "pickle.",
)  # fmt: skip
_MAX_TOKENS = 20_000
_SEARCHED = 2 << 20
_MAX_ENTITIES = 64
_MAX_REFERENCES = 8


class Markup:
    name = "markup"

    def recognises(self, blob: Blob) -> bool:
        line = first_line(blob)
        return line.startswith(("<?xml", "<!")) or bool(_ROOT.match(line))

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None:
            scan.report(Verdict.REVIEW, "limit", blob.place, "mark-up that is too large or not text to its end")
            return
        self._entities(text, blob, scan)
        if (doctype := _DOCTYPE.search(text)) is not None and not _KNOWN_DOCTYPES.match(doctype[1]):
            scan.report(Verdict.REVIEW, "external-entity", blob.place, f"its type is read from `{doctype[1][:120]}`")
        for found in _INCLUDES.finditer(text):
            target = found[1] or found[2]
            scan.report(
                Verdict.BLOCK, "external-entity", f"{blob.place}@{found.start()}", f"it includes `{target[:120]}`"
            )
            break
        root = _root(text)
        if root is not None and _OF_MODELS.match(root):
            self._model(text, blob, scan)

    def _entities(self, text: str, blob: Blob, scan: Scan) -> None:
        entities = list(_ENTITY.finditer(text))
        for found in entities:
            if found[1][:1] not in "\"'":
                why = "an entity that a parser reads from a file or an address"
                scan.report(Verdict.BLOCK, "external-entity", f"{blob.place}@{found.start()}", why)
                return
        grows = sum(found[1].count("&") + found[1].count("%") >= _MAX_REFERENCES for found in entities)
        if grows > 1 or len(entities) > _MAX_ENTITIES:
            scan.report(Verdict.BLOCK, "archive-bomb", blob.place, "entities that multiply each other")
        elif entities:
            scan.report(Verdict.REVIEW, "external-entity", blob.place, "entities of its own")

    def _model(self, text: str, blob: Blob, scan: Scan) -> None:
        if (library := _LIBRARY.search(text)) is not None:
            name = re.split(r"[\"'<>\s]", text[max(0, library.start() - _MAX_NAME) : library.end()])[-1]
            why = f"it names a native library, `{name[:120]}`"
            scan.report(Verdict.BLOCK, "executable", f"{blob.place}@{library.start()}", why)
        if (code := _find_code(text)) is not None:
            why = f"code in a model of numbers and names: `{code[0][:60]}`"
            scan.report(Verdict.BLOCK, "malicious-script", f"{blob.place}@{code.start()}", why)
        elif (harm := harm_in_commands(text)) is not None:
            scan.report(Verdict.BLOCK, "malicious-script", blob.place, f"a command that {harm}")
        elif (secret := SECRETS.search(text[:_SEARCHED])) is not None:
            why = f"it names a place where credentials are kept: `{secret[0][:60]}`"
            scan.report(Verdict.BLOCK, "malicious-script", f"{blob.place}@{secret.start()}", why)


def _find_code(text: str) -> re.Match[str] | None:
    """Plain searches first: the pattern alone takes seconds for ten megabytes."""
    for token in _TOKENS:
        at = text.find(token)
        for _ in range(_MAX_TOKENS):
            if at < 0:
                break
            if (found := _CODE.match(text, at)) is not None:
                return found
            at = text.find(token, at + 1)
    return None


def _root(text: str) -> str | None:
    """The first element's name, behind the prolog and comments."""
    at = 0
    for _ in range(100):
        at = text.find("<", at)
        if at < 0:
            return None
        if text.startswith("<!--", at):
            at = text.find("-->", at)
        elif text.startswith("<?", at):
            at = text.find("?>", at)
        elif text.startswith("<!", at):
            inner = text.find("]>", at) if "[" in text[at : text.find(">", at) + 1] else -1
            at = inner if inner >= 0 else text.find(">", at)
        else:
            found = _ROOT.match(text, at)
            return found[1] if found else None
        if at < 0:
            return None
        at += 1
    return None
