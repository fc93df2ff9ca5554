"""What a model's answer must not do to whoever reads or runs it.

Owns the rules for links that carry data away, markup that a browser would run, commands and code that do harm, and
for refusals, which are no danger and are counted. Answers: improper output handling (OWASP LLM05), data carried off
by rendered images (ATLAS AML.T0057), harmful agent actions (OWASP LLM06).
"""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from vallum.guards.expressions import BOUNDARY, Expression, choice, literal, many, maybe, sequence
from vallum.guards.patterns import Rule, RuleGuard
from vallum.guards.port import Finding

__all__ = ["Repetition", "build_code_guard", "build_links_guard", "build_markup_guard", "build_refusal_guard"]

VERSION = "1"
_LONG_VALUE = 12  # characters of a query's value from which on it may be data, not an option
_LONG_PATH_PART = 40
_LONG_LABEL, _MANY_LABELS = 28, 7  # of a host: names are shorter and fewer
_AFTER_SCHEME = many(r"^\s()<>\"'`\\", 3)


def _folded(*words: str) -> Expression:
    return choice(*(literal(word, folded=True) for word in words))


# links


def build_links_guard(allowed_hosts: Sequence[str] = ()) -> RuleGuard:
    """Images from hosts nobody allowed are loaded by whoever shows the answer, and what their URL says is sent.

    A link is found where its URL carries data: it needs a click, and answers are full of honest links.
    """
    allowed = tuple(host.lower().lstrip(".") for host in allowed_hosts)

    def image(candidate: str) -> tuple[int, int] | int:
        return len(candidate) if _is_allowed(candidate, allowed) else (0, len(candidate))

    def link(candidate: str) -> tuple[int, int] | int:
        carries = _carries_data(_url_in(candidate)) and not _is_allowed(candidate, allowed)
        return (0, len(candidate)) if carries else len(candidate)

    url = sequence(choice(_folded("https://", "http://"), "//"), _AFTER_SCHEME)
    text = many(r"^\n", 0, _MAX_ALT_CHARS, lazy=True)
    target = sequence("](", many(r"\s", 0, 8), maybe("<"), url)
    unknown = "image_from_unknown_host"
    return RuleGuard(
        "links",
        VERSION,
        [
            Rule(unknown, sequence("![", many(r"\x00-\x7f", 0, _MAX_ALT_CHARS, lazy=True), target), image),
            Rule(unknown, sequence("![", many(r"^\[\]\n", 0), "]", many(r"^(\[\n", 1, 1))),
            Rule(unknown, sequence("![", many(r"^\[\]\n", 0), "][", many(r"^\[\]\n", 0), "]")),
            Rule(
                unknown,
                sequence(
                    _folded("<img", "<image", "<source", "<video", "<audio", "<embed", "<iframe", "<link", "<object"),
                    many(r"^<>", 1),
                    choice(_folded("src", "href", "data", "srcset", "poster")),
                    many(r"\s", 0, 4),
                    "=",
                    many(r"\s\"'", 0, 4),
                    url,
                ),
                image,
            ),
            Rule("link_carries_data", sequence(BOUNDARY, _folded("https://", "http://"), _AFTER_SCHEME), link),
            Rule(
                "link_carries_data", sequence("[", text, "](", many(r"\s", 0, 8), maybe("<"), "//", _AFTER_SCHEME), link
            ),
        ],
    )


_MAX_ALT_CHARS = 160


def _url_in(candidate: str) -> str:
    found = re.search(r"(?i)(?:https?:)?//[^\s()\[\]>\"']+\Z", candidate)
    return found[0] if found else ""


def _is_allowed(candidate: str, allowed: Sequence[str]) -> bool:
    """A host by its name. One with a question mark right behind it may be another, cut where a letter is not ASCII."""
    try:
        parts = urlsplit(_url_in(candidate).lower())
        host = parts.hostname or ""
    except ValueError:
        return False
    if parts.query and not parts.path:
        return False
    return any(host == each or host.endswith("." + each) for each in allowed)


def _carries_data(url: str) -> bool:
    try:
        parts = urlsplit(url.lower())
    except ValueError:
        return True
    values = [pair.partition("=")[2] or pair for pair in parts.query.split("&")]
    labels = parts.netloc.split(".")
    return (
        any(len(value) >= _LONG_VALUE for value in values)
        or any(len(part) >= _LONG_PATH_PART and "-" not in part for part in parts.path.split("/"))
        or any(len(label) >= _LONG_LABEL for label in labels)
        or len(labels) > _MANY_LABELS
        or len(parts.fragment) >= _LONG_PATH_PART
    )


# markup


def build_markup_guard() -> RuleGuard:
    """HTML and scripts in an answer, for applications that show it in a browser as it is."""
    opening = sequence("<", maybe("/"))
    return RuleGuard(
        "markup",
        VERSION,
        [
            Rule("script", sequence(opening, _folded("script"), many(r"\s/>", 1, 1))),
            Rule(
                "active_element",
                sequence(
                    "<",
                    _folded("iframe", "object", "embed", "applet", "base", "form", "frame", "link", "meta"),
                    many(r"\s/", 1, 1),
                ),
            ),
            Rule(
                "event_handler",
                sequence(
                    "<",
                    many("A-Za-z", 1, 1),
                    many(r"^<", 0, 500, lazy=True),
                    many(r"\s/\"'", 1, 1),  # an attribute begins here, as `content=` does not within its `on`
                    _folded("on"),
                    many("A-Za-z", 3, 20),
                    many(r"\s", 0, 4),
                    "=",
                ),
            ),
            Rule("script_url", sequence(_folded("javascript", "vbscript"), many(r"\s", 0, 4), ":", many(r"^\s", 1, 1))),
            Rule(
                "data_url",
                sequence(_folded("data:text/html", "data:application/xhtml", "data:image/svg"), many(r"^\s", 1, 1)),
            ),
        ],
    )


# commands and code


def build_code_guard() -> RuleGuard:
    """Commands that destroy, take over or fetch and run; for agents that execute what a model writes."""
    to_end = many(r"^\n|;&", 0)
    gap = many(r" \t", 1, 8)
    shell = choice("bash", "sh", "zsh", "dash", "python", "python3", "perl", "ruby", "node")
    return RuleGuard(
        "code",
        VERSION,
        [
            Rule(
                "delete_everything",
                sequence(
                    BOUNDARY,
                    "rm",
                    gap,
                    many(sequence("-", many("A-Za-z-", 1, 20), gap), 1, 6),
                    many("\"'", 0, 1),
                    choice("/", "~", "$HOME", "${HOME}", "*", ". ", "./ ", ".;", ".\n"),
                ),
                _recursive,
            ),
            Rule(
                "delete_everything",
                sequence(
                    BOUNDARY, _folded("del", "rd", "rmdir"), gap, _folded("/s"), many(r"^\n", 0, 40), _folded("/q")
                ),
            ),
            Rule(
                "fetch_and_run",
                sequence(
                    BOUNDARY,
                    choice("curl", "wget", "fetch"),
                    gap,
                    many(r"^\n|", 4),
                    "|",
                    many(r" \t", 0, 4),
                    maybe("sudo", gap, many(sequence("-", many("A-Za-z", 1, 8), gap), 0, 3)),
                    maybe(choice("/bin/", "/usr/bin/", "/usr/bin/env ")),
                    shell,
                    BOUNDARY,
                ),
            ),
            Rule(
                "fetch_and_run",
                sequence(
                    BOUNDARY,
                    choice(sequence(shell, gap), sequence("eval", gap), sequence("source", gap), ". "),
                    maybe("-", many("a-z", 1, 4), gap),
                    many("\"'", 0, 1),
                    choice("$(", "<(", "`"),
                    many(r" \t", 0, 4),
                    choice("curl", "wget", "fetch"),
                    gap,
                    many(r"^\n)`", 4),
                ),
            ),
            Rule(
                "fetch_and_run",
                sequence(
                    BOUNDARY,
                    _folded("iex", "invoke-expression"),
                    many(r" \t(&$", 1, 8),
                    many(r"^\n", 0, 60),
                    _folded("downloadstring", "invoke-webrequest", "iwr", "net.webclient"),
                ),
            ),
            Rule(
                "encoded_command",
                sequence(
                    BOUNDARY,
                    _folded("powershell"),
                    many(r"^\n", 0, 80),
                    _folded(" -e", " -enc", " -encodedcommand"),
                    gap,
                    many("A-Za-z0-9+/=", 16),
                ),
            ),
            Rule(
                "encoded_command",
                sequence(
                    BOUNDARY,
                    "base64",
                    gap,
                    choice("-d", "-D", "--decode"),
                    to_end,
                    "|",
                    many(r" \t", 0, 4),
                    shell,
                    BOUNDARY,
                ),
            ),
            Rule("reverse_shell", sequence("/dev/", choice("tcp", "udp"), "/", many(r"^\s", 3, 80))),
            Rule(
                "reverse_shell",
                sequence(
                    BOUNDARY,
                    choice("nc", "ncat", "netcat"),
                    gap,
                    to_end,
                    choice("-e", "-c", "--exec"),
                    gap,
                    maybe("/bin/"),
                    choice("sh", "bash", "cmd"),
                ),
            ),
            Rule("overwrite_disk", sequence(BOUNDARY, "dd", gap, to_end, "of=/dev/", many("a-z0-9", 1, 12))),
            Rule(
                "overwrite_disk",
                sequence(
                    BOUNDARY, "mkfs", maybe(".", many("a-z0-9", 1, 8)), gap, to_end, "/dev/", many("a-z0-9", 1, 12)
                ),
            ),
            Rule(
                "overwrite_disk",
                sequence(
                    ">", many(r" \t", 0, 4), "/dev/", choice("sd", "hd", "nvme", "vd", "disk"), many("a-z0-9", 1, 8)
                ),
            ),
            Rule("fork_bomb", sequence(":()", many(r"\s", 0, 4), "{", many(r"\s", 0, 4), ":|:")),
            Rule(
                "open_permissions",
                sequence(
                    BOUNDARY,
                    "chmod",
                    gap,
                    many(sequence("-", many("A-Za-z", 1, 8), gap), 0, 3),
                    choice("777", "0777", "a+rwx", "+s", "u+s", "4755"),
                ),
            ),
            Rule(
                "new_login",
                sequence(
                    choice(">>", "tee -a"),
                    many(r" \t", 0, 4),
                    many(r"^\s", 0, 60),
                    choice("authorized_keys", "/etc/passwd", "/etc/sudoers", "/etc/shadow", ".bashrc", "crontab"),
                ),
            ),
            Rule(
                "drop_table",
                sequence(
                    BOUNDARY,
                    _folded("drop", "truncate"),
                    gap,
                    _folded("table", "database", "schema"),
                    gap,
                    many(r"^\s;", 1, 80),
                ),
            ),
            Rule(
                "drop_table",
                sequence(
                    BOUNDARY, _folded("delete"), gap, _folded("from"), gap, many(r"^\s;", 1, 80), many(r"\s", 0, 4), ";"
                ),
            ),
            Rule(
                "dynamic_code",
                sequence(
                    BOUNDARY,
                    choice("eval", "exec"),
                    "(",
                    many(r"^\n)", 0, 80),
                    choice("input(", "request", "base64", "decode", "urlopen", "argv"),
                ),
            ),
            Rule(
                "dynamic_code",
                sequence(
                    BOUNDARY, choice("pickle.loads", "marshal.loads", "os.system", "os.popen"), "(", many(r"^\n", 1, 1)
                ),
            ),
            Rule(
                "dynamic_code",
                sequence(
                    BOUNDARY, "subprocess.", many("a-zA-Z_", 2, 20), "(", many(r"^\n", 1, lazy=True), "shell=True"
                ),
            ),
        ],
    )


def _recursive(candidate: str) -> tuple[int, int] | int:
    """`rm` that goes down: -r, -R or --recursive among the options."""
    options = re.findall(r"\s(-[A-Za-z-]+)", candidate)
    goes_down = any(o == "--recursive" or (not o.startswith("--") and set("rR") & set(o)) for o in options)
    return (0, len(candidate)) if goes_down else len(candidate)


# refusals


def build_refusal_guard() -> RuleGuard:
    """Answers that decline. Worth counting: many refusals are attacks turned away, or a model that is too shy."""
    able = sequence(
        _folded("i "),
        choice(
            "cannot",
            "can't",
            "can’t",
            "can not",
            "won't",
            "won’t",
            "will not",
            "am unable to",
            "'m unable to",
            "am not able to",
            "'m not able to",
            "must decline to",
        ),
    )
    doing = _folded(
        "help",
        "assist",
        "provide",
        "comply",
        "fulfill",
        "fulfil",
        "support",
        "create",
        "generate",
        "answer",
        "do that",
        "share",
        "write",
        "engage",
        "participate",
        "discuss",
    )
    return RuleGuard(
        "refusal",
        VERSION,
        [
            Rule("refusal", sequence(BOUNDARY, able, many(r"A-Za-z ,'", 1, 24), doing)),
            Rule(
                "refusal",
                sequence(
                    BOUNDARY,
                    _folded("i'm sorry", "i’m sorry", "i am sorry", "sorry"),
                    many(" ,", 1, 2),
                    _folded("but "),
                    _folded("i "),
                ),
            ),
            Rule(
                "refusal",
                sequence(BOUNDARY, _folded("as an ai"), many(r"A-Za-z ", 0, 20), many(", ", 1, 2), _folded("i ")),
            ),
            Rule(
                "refusal",
                sequence(
                    BOUNDARY,
                    _folded("against my"),
                    many(r"A-Za-z ", 1, 24),
                    _folded("guidelines", "programming", "policies", "policy"),
                ),
            ),
            Rule(
                "refusal",
                sequence(
                    BOUNDARY,
                    _folded(
                        "ich kann dir dabei nicht",
                        "ich kann ihnen dabei nicht",
                        "je ne peux pas vous aider",
                        "lo siento, pero no puedo",
                        "no puedo ayudarte con",
                        "mi dispiace, ma non posso",
                        "desculpe, mas não posso",
                    ),
                ),
            ),
        ],
    )


class Repetition:
    """A text that says the same again and again: a model in a loop, or one made to spend somebody's money.

    Found where the last thousand characters are one run of at most 64 characters over and over. What came before has
    left by then, so that the finding is a place: what follows it can be stopped, nothing can be taken out.
    """

    name = "repetition"
    version = VERSION

    def find(self, text: str) -> Sequence[Finding]:
        return self.cursor().advance(text, 0, final=True)[0]

    def cursor(self) -> "RepetitionCursor":
        return RepetitionCursor()


_SPAN_CHARS = 1024
_PERIOD_CHARS = 64


class RepetitionCursor:
    """Looks at every 64th place of the whole text, however it arrives."""

    def __init__(self) -> None:
        self._recent = ""  # what came before the next place to look at
        self._end = 0
        self._repeating = False

    def advance(self, text: str, origin: int, *, final: bool) -> tuple[Sequence[Finding], int]:
        end = origin + len(text)
        recent = self._recent + text[self._end - origin :]
        base = end - len(recent)
        found = []
        for place in range(self._end // _PERIOD_CHARS * _PERIOD_CHARS + _PERIOD_CHARS, end + 1, _PERIOD_CHARS):
            if place < _SPAN_CHARS:
                continue
            repeats = _is_periodic(recent[place - base - _SPAN_CHARS : place - base])
            if repeats and not self._repeating:
                found.append(Finding(self.name, VERSION, "repetition", place, place))
            self._repeating = repeats
        self._recent, self._end = recent[-_SPAN_CHARS:], end
        return found, end

    name = Repetition.name


def _is_periodic(span: str) -> bool:
    period = span.find(span[:_PERIOD_CHARS], 1, 2 * _PERIOD_CHARS)
    return period > 0 and span == (span[:period] * (_SPAN_CHARS // period + 1))[:_SPAN_CHARS]
