"""Plain text: prose, vocabularies, merges, tables, licences. It passes for being text to its end, and for what it holds.

Answers payloads that are encoded in text, mark-up that runs scripts, and requirements that come from elsewhere.
"""

# ruff: noqa: E501  tables of names and patterns, one a line

import re

from vallum.models.scan.languages.encoded import inspect_encoded
from vallum.models.scan.languages.settings import PACKAGE_INDEX
from vallum.models.scan.languages.text import MAX_TEXT_BYTES, is_text, looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Text"]

_MARKUP = re.compile(
    r"(?i)<script\b|\bon(?:load|error|click|mouseover|begin|focus)\s*=\s*[\"']|[\"'(=]\s*javascript:|<iframe\b|<object\b|<embed\b|<foreignObject\b"
)
_OF_MARKUP = re.compile(
    r"(?i)\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,2000}?-->\s*)?<(?:!doctype\s+html|html|svg|head|body|script)\b",
    re.DOTALL,
)
_ENTITIES = re.compile(r"(?i)<!ENTITY\s")
_FROM_ELSEWHERE = re.compile(
    r"(?m)^\s*(?:-\s+)?(?:(?:-e|--editable)\s+\S|(?:--extra-index-url|--index-url|-i|--trusted-host|--find-links|-f)[ =]+(?P<index>\S+)"
    r"|(?:[\w.\[\],-]+\s*@\s*)?(?:git|hg|svn|bzr)\+\w+:|[\w.\[\],-]+\s*@\s*(?:https?|file):|https?://\S+\.(?:whl|zip|tar\.gz)\s*$)"
)
# Where projects keep what they build: whose it is there, is for a person to see.
_KNOWN_HOSTS = re.compile(
    r"(?:git\+)?(?:https|ssh)://(?:git@)?(?:github\.com|[\w-]+\.github\.io|[\w.-]+\.githubusercontent\.com|gitlab\.com|bitbucket\.org|codeberg\.org"
    r"|huggingface\.co|hf\.co|pypi\.org|files\.pythonhosted\.org|download\.pytorch\.org|pypi\.nvidia\.com|pypi\.ngc\.nvidia\.com|data\.pyg\.org|wheels\.vllm\.ai"
    r"|storage\.googleapis\.com|(?:[\w-]+\.)?s3[\w.-]*\.amazonaws\.com|(?:pkgs\.dev\.azure|[\w-]+\.blob\.core\.windows|[\w-]+\.pkg\.dev)(?:\.com|\.net)?)(?=(?::\d+)?/)"  # a name before the host, as in `known.org:x@other.org`, is no host
)
_ADDRESS = re.compile(r"(?:\w+\+)?\w+://[^\s\"']+")
_OF_REQUIREMENTS = re.compile(r"(?i)requirements|\breqs?\b|constraints|conda|environment|python_env|pipfile|pyproject")
_REQUIREMENT = re.compile(r"(?m)^\s*(?:-\s+)?[A-Za-z][\w.-]*(?:\[[\w,]+\])?\s*(?:[=<>~!]=?=?\s*[\d.*]+.*)?$")


class Text:
    name = "text"

    def recognises(self, blob: Blob) -> bool:
        return looks_like_text(blob)

    def inspect(self, blob: Blob, scan: Scan) -> None:
        if not is_text(blob):
            scan.report(Verdict.REVIEW, "hidden-payload", blob.place, "it begins as text and does not go on as text")
            return
        text = text_of(blob)
        if text is None:
            scan.report(Verdict.REVIEW, "limit", blob.place, f"text of more than {MAX_TEXT_BYTES >> 20} MiB")
            return
        inspect_encoded(text, blob, scan)
        if _OF_MARKUP.match(text) and (_MARKUP.search(text) or _ENTITIES.search(text)):
            scan.report(Verdict.REVIEW, "script", blob.place, "mark-up with scripts or entities")
        elif "<script" in text[: 1 << 20] and not blob.name.lower().endswith(
            (".json", ".py", ".ipynb", ".txt", ".csv", ".tsv", ".jsonl")
        ):
            scan.report(Verdict.REVIEW, "script", blob.place, "text with a script in it")
        if _OF_REQUIREMENTS.search(blob.name) or (
            len(text) < 65536 and len(_REQUIREMENT.findall(text)) * 2 > text.count("\n") + 1
        ):
            self._judge_requirements(text, blob, scan)

    def _judge_requirements(self, text: str, blob: Blob, scan: Scan) -> None:
        for found in _FROM_ELSEWHERE.finditer(text):
            line = text[found.start() : text.find("\n", found.end()) + 1 or None].partition(" #")[0]
            addresses, trusts = _ADDRESS.findall(line), "--trusted-host" in line
            if found["index"] and addresses and not trusts and all(map(PACKAGE_INDEX.match, addresses)):
                continue
            unknown = trusts or not all(map(_KNOWN_HOSTS.match, addresses))
            scan.report(
                Verdict.BLOCK if unknown else Verdict.REVIEW,
                "remote-code",
                f"{blob.place}@{found.start()}",
                "a dependency that comes from elsewhere than the package index",
            )
            if unknown:
                return
