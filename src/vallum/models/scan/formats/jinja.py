"""Templates: files of Jinja, chat templates out of configurations, and whatever text has Jinja's tags in it."""

from vallum.models.scan.languages.jinja import judge_template
from vallum.models.scan.languages.text import looks_like_text, text_of
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Blob, Scan

__all__ = ["Jinja"]


class Jinja:
    name = "jinja"

    def recognises(self, blob: Blob) -> bool:
        if blob.name.endswith((".json", ".py", ".ipynb")):
            return False  # their own inspectors look at each of their strings
        return looks_like_text(blob) and (
            _is_named(blob) or any(mark in blob.data[:4096].tobytes() for mark in (b"{%", b"{{"))
        )

    def inspect(self, blob: Blob, scan: Scan) -> None:
        text = text_of(blob)
        if text is None:
            scan.report(Verdict.REVIEW, "malformed", blob.place, "a template that is not text to its end")
            return
        judge_template(text, blob.place, scan, is_template=_is_named(blob) or text.lstrip()[:2] in ("{%", "{{"))


def _is_named(blob: Blob) -> bool:
    return blob.name.endswith((".jinja", ".jinja2", ".j2")) or "chat_template" in blob.name
