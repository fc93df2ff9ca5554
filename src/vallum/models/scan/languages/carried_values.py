"""Plain values of a configuration that are commands, code, or places of secrets, under whichever key they stand.

A key's name is the attacker's to choose, so the value decides. What is written for people to read (prompts, answers,
descriptions) quotes commands and code, and is left alone: nothing runs it.
"""

# ruff: noqa: E501, SIM905  tables of names and patterns, one a line

import re

from vallum.models.scan.languages.python import MINES, harms_in_python, parse_python
from vallum.models.scan.languages.python_reading import SECRETS
from vallum.models.scan.languages.shell import harm_in_commands
from vallum.models.scan.model import Verdict
from vallum.models.scan.port import Scan

__all__ = ["CarriedValues"]

_MAX_CHARACTERS = 4096
_MAX_LOOKS = 3_000
_PROSE = frozenset(
    """text content prompt description summary question answer instruction instructions output response completion example
    examples note notes title caption message messages body readme comment comments doc docs documentation help input
    widget query chosen rejected license citation template chat_template system user assistant token tokens merges vocab
    label labels word words name value sentence sentences context passage document snippet solution canonical_solution""".split()
)
_COMMANDS = re.compile(
    r"(?i)\b(?:curl|wget|iwr|bash|sh|zsh|nc|ncat|netcat|socat|powershell|crontab|eval|rm|dd|mkfifo|base64|xxd|python3?|perl|ruby|php|node|certutil|bitsadmin|mshta|systemctl|schtasks|reg|env|pip3?|chattr|xmrig|minerd)\b|/dev/(?:tcp|udp)|authorized_keys|/etc/cron|:\(\)\s*\{"
)
_CODE = re.compile(
    r"__import__|__builtins__|__subclasses__|\b(?:os|posix|subprocess|pty|socket|shutil|ctypes|importlib|runpy|builtins|urllib|requests|marshal|pickle)\.\w|\b(?:eval|exec|compile)\s*\("
)
_RUNS_CODE = re.compile(
    r"(?i)(?:\A|_|\b)(?:exec|eval|on_?load|on_?import|init_code|custom_code|source_code|python_code)(?:_|\b|\Z)"
)
_ADDRESS = re.compile(
    r"(?i)\A(?:https?|ftp|tcp|ws)s?://(?:[^/@\s]*@)?(\[[0-9a-f:]+\]|\d{1,3}(?:\.\d{1,3}){3}|[^/:\s]+)(?::\d+)?(/\S*)?\Z"
)
_NUMBERS = re.compile(r"\[|\d{1,3}(?:\.\d{1,3}){3}\Z")
_LOCAL = re.compile(r"(?:127\.|0\.0\.0\.0|10\.|192\.168\.|172\.(?:1[6-9]|2\d|3[01])\.|\[::1\])")
_RUNNABLE = re.compile(
    r"(?i)\.(?:sh|bash|ps1|bat|cmd|exe|dll|so|dylib|scr|vbs|hta|jar|elf|py|pkl|pickle|whl)(?:[?#].*)?\Z"
)
_SENDS = re.compile(r"(?i)exfil|webhook|beacon|(?:\A|_)c2(?:_|\Z)|callback_url|phone_home|steal|backdoor")


class CarriedValues:
    """Of one document, in which they may be many: parsing what looks like code costs a tenth of a millisecond."""

    def __init__(self, scan: Scan) -> None:
        self._scan, self._left = scan, _MAX_LOOKS

    def judge(self, key: str, value: str, place: str) -> None:
        """`key` is the last part of its path. One finding at most."""
        name = key.lower()
        if not 4 < len(value) <= _MAX_CHARACTERS or name in _PROSE or self._left < 0:
            return
        if _COMMANDS.search(value) or _CODE.search(value):
            self._left -= 1
            if self._left < 0:
                text = "more values that look like commands or code than are looked at"
                self._scan.report(Verdict.REVIEW, "limit", place, text)
                return
        verdict, why = _judged(name, value)
        if verdict is not Verdict.PASS:
            self._scan.report(verdict, "config-executes", place, why)


def _judged(name: str, value: str) -> tuple[Verdict, str]:
    if _COMMANDS.search(value) and (harm := harm_in_commands(value)):
        return Verdict.BLOCK, f"a value that is a command, which {harm}"
    if _CODE.search(value) and _does_harm(value):
        return Verdict.BLOCK, "a value that is code, which runs, fetches or reaches for credentials"
    if SECRETS.search(value):
        return Verdict.BLOCK, f"it names a place where credentials are kept: `{value[:120]}`"
    if MINES.search(value):
        return Verdict.BLOCK, f"it names a place where stolen data or a miner's work goes: `{value[:120]}`"
    if (address := _ADDRESS.match(value)) is not None:
        return _judged_address(name, value, address)
    if _RUNS_CODE.search(name) and (tree := parse_python(value)) is not None and "(" in value and tree.body:
        return Verdict.REVIEW, "a value that is code, under a name that says that it is run"
    return Verdict.PASS, ""


def _judged_address(name: str, value: str, address: re.Match[str]) -> tuple[Verdict, str]:
    if _SENDS.search(name) or _RUNNABLE.search(address[2] or ""):
        return Verdict.REVIEW, f"an address that is sent to, or that something to run comes from: `{value[:120]}`"
    if _NUMBERS.match(address[1]) and not _LOCAL.match(address[1]):
        return Verdict.REVIEW, f"an address without a name: `{value[:120]}`"
    return Verdict.PASS, ""


def _does_harm(value: str) -> bool:
    tree = parse_python(value)
    if tree is None:
        return False
    return any(harm.verdict is Verdict.BLOCK for harm in harms_in_python(tree))
