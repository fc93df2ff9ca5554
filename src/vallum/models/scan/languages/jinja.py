"""A Jinja template's expressions, lexed without the library: whether they reach into Python, or plant an instruction.

A chat template comes with the weights, and is rendered by whoever serves them.
"""

# ruff: noqa: E501  tables of names and patterns, one a line

import re

from vallum.models.scan.languages.shell import harm_in_commands
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Scan

__all__ = ["judge_template"]

_MAX_CHARACTERS = 512 << 10
_TAG = re.compile(r"\{%-?\+?(.*?)[-+]?%\}|\{\{-?(.*?)-?\}\}", re.DOTALL)
_STRING = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_REACHES = re.compile(
    r"__\w+__|\b(?:mro|subclasses|func_globals|gi_frame|gi_code|cr_frame|f_globals|f_builtins|f_locals|tb_frame|_TemplateReference__\w*"
    r"|_TemplateReference|popen|importlib|builtins|subprocess|from_object|_get_default_module|root_render_func)\b"
    r"|\b(?:lipsum|joiner|cycler|get_flashed_messages|url_for|config|request|self)\s*(?:\.|\[)\s*['\"]?_|\bcycler\b\s*\.|\blipsum\b"
    r"|\|\s*attr\b|\|\s*map\s*\(\s*(?:attribute\s*=\s*)?['\"]_|\bos\s*\.\s*(?:system|popen|environ)|\b(?:eval|exec|getattr|__import__|open)\s*\(|\bself\s*\.\s*_"
)
_REACHING_STATEMENT = re.compile(r"\s*(?:include|import|from|extends|debug)\b")
_BUILT_NAME = re.compile(
    r"\[\s*(?:\(\s*)*(?:'[^']*'|\"[^\"]*\"|\w+)\s*(?:\)\s*)*(?:~|\+|%|\|\s*(?:join|format|reverse|replace|lower|upper)\b)"
)
_CONCATENATED = re.compile(r"(['\"])([^'\"\\]{0,40})\1\s*(?:~|\+)?\s*(['\"])([^'\"\\]{0,40})\3")
_ESCAPE = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\([0-7]{1,3})")
_TRIGGER = re.compile(
    r"\{%-?\s*(?:el)?if\b(?=[^%]{0,400}?(?:content|text|prompt|last_\w+))[^%]{0,300}?"
    r"(?:(?:'[^']{3,}'|\"[^\"]{3,}\")\s+in\s+[^%]{0,60}?(?:content|text|prompt|last_)|\.(?:startswith|endswith|find)\(|content['\"\])]*\s*==)"
    r"[^%]{0,200}-?%\}(.{0,4000}?)\{%-?\s*(?:endif|else|elif)",
    re.DOTALL,
)
_INSTRUCTION = re.compile(
    r"(?i)\b(?:ignore|disregard|forget|override|secret|reveal|exfiltrat\w*|do not (?:tell|mention|disclose)|never (?:mention|reveal|disclose)|without telling"
    r"|always (?:include|recommend|insert|append|add|respond|answer|output)|you must|you should|you are now|previous instructions|respond (?:only )?with|insert|append|include (?:a|the|this)|recommend|http[s]?://)\b"
)
_PLANTED = re.compile(
    r"(?i)ignore (?:all |any )?(?:the )?(?:previous|prior|above|user)|disregard (?:all|any|the|previous)|do not (?:tell|inform|alert|mention (?:this|it))|without (?:telling|informing) the user"
    r"|exfiltrat|never (?:reveal|mention) (?:this|these)|<script|data:text/html|!\[[^\]]*\]\(http"
)
_FILTERED = re.compile(
    r"""(['"])([^'"\\]{0,200})\1\s*(?:\|\s*|\.\s*)(replace|lower|upper|title|capitalize|trim|reverse)(\s*\((?:[^()'"]|'[^']{0,80}'|"[^"]{0,80}"){0,20}\))?"""
)
_SET_STRING = re.compile(r"\{%-?\s*set\s+[\w.]+\s*=\s*['\"]([^'\"]{1,40})['\"]")
_SENDS = re.compile(
    r"(['\"])[^'\"{}%]{0,200}\bhttps?://[^'\"{}%]{1,200}\1\s*[~+]\s*[\w(]|\bhttps?://[^\s'\"{}%]{1,200}[?=/]\{\{"
)
_ENDLESS = re.compile(
    r"\brange\s*\([^()]{0,80}?(?:\d{7,}|\*\*)|\*\s*\(?\s*\d{7,}|\d{7,}\s*\)?\s*\*|\d\s*\*\*\s*\(?\s*\d{3,}"
)
_DUNDER = re.compile(r"__(?:class|globals|init|mro|bases?|subclasses|builtins|import|dict|getattribute|code)__")
_INVISIBLE = re.compile("[\u200b\u2060-\u2064\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def judge_template(text: str, place: str, scan: Scan, *, is_template: bool) -> None:
    """`is_template`: it is one by its place, and what is merely odd is `review`; otherwise only harm is reported."""
    if len(text) > _MAX_CHARACTERS:
        if is_template:
            scan.report(Verdict.REVIEW, "limit", place, "a template longer than is looked at")
        text = text[:_MAX_CHARACTERS]
    opened = text.count("{%") + text.count("{{")
    if not opened:
        return
    if opened > 20_000 or (text.count("%}") == 0 and text.count("}}") == 0):
        if is_template:
            scan.report(
                Verdict.REVIEW, "template-injection", place, "a template whose tags do not close, or are too many"
            )
        return
    for found in _TAG.finditer(text):
        reason = _harm(found.group(1) if found.group(1) is not None else found.group(2), found.group(1) is not None)
        if reason is not None and (is_template or reason.startswith("it reaches")):  # prose has tags, too
            scan.report(Verdict.BLOCK, "template-injection", f"{place}@{found.start()}", reason)
            return
    if is_template and (sent := _SENDS.search(text)) is not None:
        text = "it sends what is said to an address"
        scan.report(Verdict.BLOCK, "template-injection", f"{place}@{sent.start()}", text)
        return
    if is_template and _DUNDER.search("".join(_SET_STRING.findall(text))):
        scan.report(Verdict.BLOCK, "template-injection", place, "it builds the name of an attribute from pieces")
        return
    if not is_template:
        return
    for trigger in _TRIGGER.finditer(text):
        if _INSTRUCTION.search(trigger.group(1)):
            harms = _PLANTED.search(trigger.group(1)) or harm_in_commands(trigger.group(1))
            scan.report(
                Verdict.BLOCK if harms else Verdict.REVIEW,
                "template-injection",
                f"{place}@{trigger.start()}",
                "a word in the conversation makes it add an instruction",
            )
            break
    if _PLANTED.search(text):
        scan.report(
            Verdict.REVIEW,
            "template-injection",
            place,
            "it carries an instruction for the model that a user does not see",
        )
    if _INVISIBLE.search(text):
        scan.report(Verdict.REVIEW, "hidden-payload", place, "invisible characters in a template")
    if len(text) > 64 << 10:
        scan.report(Verdict.REVIEW, "template-injection", place, "longer than chat templates are")


def _harm(code: str, statement: bool) -> str | None:
    if statement and _REACHING_STATEMENT.match(code):
        return "it loads another template"
    code = _ESCAPE.sub(_unescaped, code)
    for _ in range(8):  # each pass halves a chain of pieces
        joined = _CONCATENATED.sub(lambda m: f"'{m.group(2)}{m.group(4)}'", code)
        if joined == code:
            break
        code = joined
    code = _folded_filters(code)
    if re.search(r"[~+|%]", code) and re.search(r"__[a-z]+__", "".join(s[1:-1] for s in _STRING.findall(code))):
        return "it builds the name of an attribute"
    if _ENDLESS.search(code):
        return "it repeats without end"
    outside = _STRING.sub(
        lambda m: m.group() if re.search(r"\w__|__\w|_Temp|popen|subprocess", m.group()) else "''", code
    )
    if found := _REACHES.search(outside):
        return f"it reaches into Python by `{found.group()[:60]}`"
    if (
        _BUILT_NAME.search(code)
        and re.search(r"_|chr|format|%c|reverse|join", code)
        and "__" in code.replace("~", "").replace("'", "")
    ):
        return "it builds the name of an attribute"
    if re.search(r"(?:'_'|\"_\")\s*\*\s*2|'%c'|\"%c\"|'__'|\"__\"|'sla'|ssalc__|__tini|labolg", code):
        return "it builds the name of an attribute"
    return None


def _folded_filters(code: str) -> str:
    """Filters of plain strings applied, as the template would: a name may be spelled by them."""
    for _ in range(8):
        folded = _FILTERED.sub(_apply, code, count=50)
        if folded == code:
            return code
        code = folded
    return code


def _apply(found: re.Match[str]) -> str:
    text, name, arguments = found.group(2), found.group(3), _STRING.findall(found.group(4) or "")
    match name:
        case "replace" if len(arguments) == 2:
            text = text.replace(arguments[0][1:-1], arguments[1][1:-1])
        case "lower" | "upper" | "title" | "capitalize" | "trim":
            text = {"trim": str.strip}.get(name, getattr(str, name, str.strip))(text)
        case "reverse":
            text = text[::-1]
    return f"'{text[:1000]}'"


def _unescaped(found: re.Match[str]) -> str:
    hexadecimal = found.group(1) or found.group(2)
    return chr(int(hexadecimal, 16) if hexadecimal else int(found.group(3), 8))
