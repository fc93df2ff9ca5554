"""Witnesses: others who have seen the log grow and sign each head only if it continues the one they signed before.

A log that shows two histories must then fool its witnesses too. A *policy* says who they are and how many suffice;
`Witnessing` asks them, and anyone with the policy can check a cosigned checkpoint offline. Depends on the standard
library and `cryptography` alone. Sources: C2SP tlog-witness, tlog-cosignature and tlog-policy.
"""

import base64
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vallum.kernel.errors import IntegrityError, Invalid, Unavailable
from vallum.kernel.ledger.note import CosignatureVerifier, parse_cosignature_lines, verify_cosignatures

__all__ = ["NotWitnessed", "Witness", "WitnessPolicy", "WitnessTransport", "Witnessing", "check_witnessed"]

_log = logging.getLogger("vallum")

MAX_POLICY_CHARS = 65_536
MAX_WITNESSES = 64  # their signatures and ours must fit in one note
_CONFLICT = 409
_OK = 200


class NotWitnessed(IntegrityError):
    """Fewer witnesses cosigned the checkpoint than the policy's quorum asks for."""

    code = "ledger_not_witnessed"


@dataclass(frozen=True, slots=True)
class Witness:
    """One witness: its name in the policy, the key it cosigns with, and where to ask it (empty: verified only)."""

    name: str
    verifier: CosignatureVerifier
    url: str


@dataclass(frozen=True, slots=True)
class _Group:
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """Who witnesses, and which of them together are a quorum. `quorum` empty means that none is needed."""

    witnesses: tuple[Witness, ...]
    quorum: str = ""
    _groups: dict[str, _Group] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "WitnessPolicy":
        """Read the C2SP policy format: `witness NAME VKEY [URL]`, `group NAME k|any|all NAME…`, `quorum NAME|none`.

        `log` lines are allowed and not used: the log's own key is configured elsewhere. Raises Invalid with the line.
        """
        if len(text) > MAX_POLICY_CHARS:
            raise Invalid(f"a witness policy is at most {MAX_POLICY_CHARS} characters")
        reader = _PolicyReader()
        for number, line in enumerate(text.splitlines(), start=1):
            words = line.split()
            if words and not words[0].startswith("#"):
                try:
                    reader.read(words)
                except (Invalid, IntegrityError) as e:
                    raise Invalid(f"witness policy, line {number}: {e}") from e
        if reader.quorum is None:
            raise Invalid("a witness policy has a line 'quorum NAME' or 'quorum none'")
        return cls(tuple(reader.witnesses.values()), reader.quorum, reader.groups)

    def satisfied_by(self, names: set[str]) -> bool:
        """Whether the witnesses called `names` are a quorum."""
        return not self.quorum or self._holds(self.quorum, names)

    def _holds(self, name: str, names: set[str]) -> bool:
        group = self._groups.get(name)
        if group is None:
            return name in names
        return sum(self._holds(member, names) for member in group.members) >= group.threshold


class _PolicyReader:
    """Names are defined before they are used, so that a policy cannot refer to itself."""

    def __init__(self) -> None:
        self.witnesses: dict[str, Witness] = {}
        self.groups: dict[str, _Group] = {}
        self.quorum: str | None = None
        self._grouped: set[str] = set()

    def read(self, words: list[str]) -> None:
        match words:
            case ["log", _] | ["log", _, _]:
                return
            case ["witness", name, key, *url] if len(url) <= 1:
                self._define(name)
                self.witnesses[name] = Witness(name, CosignatureVerifier.parse(key), _checked_url(url))
                if len(self.witnesses) > MAX_WITNESSES:
                    raise Invalid(f"at most {MAX_WITNESSES} witnesses")
            case ["group", name, threshold, *members] if members:
                self._define(name)
                self.groups[name] = self._group(threshold, members)
            case ["quorum", name] if self.quorum is None:
                if name != "none" and name not in self.witnesses and name not in self.groups:
                    raise Invalid(f"quorum {name} is not defined above")
                self.quorum = "" if name == "none" else name
            case _:
                raise Invalid("expected 'witness NAME KEY [URL]', 'group NAME k|any|all NAME…' or one 'quorum NAME'")

    def _define(self, name: str) -> None:
        if name == "none" or name in self.witnesses or name in self.groups:
            raise Invalid(f"the name {name} is taken")

    def _group(self, threshold: str, members: list[str]) -> _Group:
        for member in members:
            if member not in self.witnesses and member not in self.groups:
                raise Invalid(f"{member} is not defined above")
            if member in self._grouped:
                raise Invalid(f"{member} is already in a group")
            self._grouped.add(member)
        wanted = {"any": "1", "all": str(len(members))}.get(threshold, threshold)
        if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(members)):
            raise Invalid(f"a group of {len(members)} needs a threshold of 1 to {len(members)}, any or all")
        return _Group(int(wanted), tuple(members))


def _checked_url(url: list[str]) -> str:
    if url and not url[0].startswith(("https://", "http://")):
        raise Invalid("a witness is asked over https:// or http://")
    return url[0].rstrip("/") if url else ""


def check_witnessed(note: bytes, policy: WitnessPolicy) -> dict[str, int]:
    """The witnesses that cosigned `note` and when (Unix seconds).

    Raises NotWitnessed for less than a quorum, UntrustedNote where a witness's signature is wrong.
    """
    by_key = {(w.verifier.name, w.verifier.key_id): w.name for w in policy.witnesses}
    times = verify_cosignatures(note, [w.verifier for w in policy.witnesses])
    signed = {by_key[key]: seconds for key, seconds in times.items()}
    if not policy.satisfied_by(set(signed)):
        raise NotWitnessed(f"{len(signed)} of {len(policy.witnesses)} witnesses cosigned the checkpoint: no quorum")
    return signed


class WitnessTransport(Protocol):
    """How a witness is asked: one POST."""

    def post(self, url: str, body: bytes) -> tuple[int, bytes]:
        """The status and body of the answer. Raises Unavailable when there is none."""
        ...


class Witnessing:
    """Asks the witnesses of a policy to cosign each new head. Remembers only what each was last known to hold."""

    def __init__(self, policy: WitnessPolicy, transport: WitnessTransport) -> None:
        self.policy = policy
        self._transport = transport
        self._held: dict[str, int] = {}  # the size of the head that a witness last cosigned

    def cosign(self, note: bytes, size: int, prove: Callable[[int], Sequence[bytes]]) -> bytes:
        """`note` with a line for each witness that cosigned it; one that is away or refuses is logged and left out.

        `prove(old_size)` gives the consistency proof from `old_size` to `size`.
        """
        lines = []
        for witness in self.policy.witnesses:
            if not witness.url:
                continue
            try:
                lines.append(self._ask(witness, note, size, prove))
            except (Unavailable, IntegrityError) as e:
                _log.warning("the witness %s did not cosign the ledger at %d: %s", witness.name, size, e)
        return note + b"".join(lines)

    def _ask(self, witness: Witness, note: bytes, size: int, prove: Callable[[int], Sequence[bytes]]) -> bytes:
        status, answer = self._post(witness, note, size, prove)
        if status == _CONFLICT:  # it holds another size than we remember, and says which
            self._held[witness.name] = _told_size(witness, answer, size)
            status, answer = self._post(witness, note, size, prove)
        if status != _OK:
            raise Unavailable(f"it answered {status}")
        line = _own_line(witness, note, answer)
        self._held[witness.name] = size
        return line

    def _post(
        self, witness: Witness, note: bytes, size: int, prove: Callable[[int], Sequence[bytes]]
    ) -> tuple[int, bytes]:
        old = min(self._held.get(witness.name, 0), size)
        path = prove(old) if 0 < old < size else ()
        hashes = "".join(base64.b64encode(node).decode() + "\n" for node in path)
        return self._transport.post(f"{witness.url}/add-checkpoint", f"old {old}\n{hashes}\n".encode() + note)


def _told_size(witness: Witness, answer: bytes, size: int) -> int:
    told = answer.strip()
    if not (told.isdigit() and len(told) <= 19):
        raise Unavailable("it answered 409 without the size it holds")
    if int(told) > size:
        raise IntegrityError(f"it holds a head of {int(told)} entries and the log has {size}: was it rolled back?")
    return int(told)


def _own_line(witness: Witness, note: bytes, answer: bytes) -> bytes:
    """The one line that is this witness's and verifies; a witness must not add others' to our checkpoint."""
    verifier = witness.verifier
    for line, name, blob in parse_cosignature_lines(answer):
        if name == verifier.name and blob[:4] == verifier.key_id:
            verify_cosignatures(note + line, [verifier])
            return line
    raise IntegrityError("its answer holds no signature of its key")
