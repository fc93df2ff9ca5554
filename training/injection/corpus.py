"""The training texts: the given rows, those written for it (`texts/`), and generated ones beside them.

Documents come in pairs, clean and injected, since a model that sees injections in one kind of document only learns
the kind. Where the injected words stand is kept, so that windows of a document can be labelled one by one.
"""

import base64
import codecs
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from grammar import Grammar
from vallum.guards.injection.views import views

__all__ = [
    "MAX_CHARS", "Text", "generated", "inject", "is_kept_back", "read_rows", "share_of", "vary", "weighted", "written",
]  # fmt: skip

HERE = Path(__file__).resolve().parent
MAX_CHARS = 4000
_DATA_KINDS = ("indirect", "document", "tool_result", "indirect_instruction")
_ATTACKS = {
    "short": 1200,
    "override": 5000, "leak": 2500, "persona_jailbreak": 2500, "fiction_jailbreak": 3000, "suppress_jailbreak": 1500,
    "gibberish_jailbreak": 900, "fake_frame": 2000, "multilingual": 2500,
}  # fmt: skip
_BENIGN = {"trigger": 10_000, "setup": 5000, "multilingual": 1500}
_NOTE_SOURCES = ("bipia-train-attack", "generated-attack", "giskard", "deepset-train")
_ORDINARY = 4000
_REAL_ATTACK_TIMES, _REAL_HARMLESS_TIMES = 5, 2
_PAIRS = 9000
_GRAMMAR_SHARE = 0.75
_BARE_SHARE = 0.4  # of notes that are also shown by themselves: a tool may return nothing else
_ENCODED = 10_000
_READ_HARMLESS, _READ_ATTACKS = 10_000, 4000  # disguised, and shown in each reading that the guard makes of them
_READ_CHARS = 300
_PIECES = 10_000  # of harmless texts: a few words that say nothing by themselves
_WRITTEN = {"prompts": 0, "harmless_twins": 0, "injections": 1, "jailbreaks": 1}
_WRITTEN_TIMES = 4  # each written text counts as several generated ones: no two of them are alike
_DOCUMENT_TIMES = 8  # a document is shown in a few windows each time
_NOTE_PAIRS = 7  # documents that each written note is put into


@dataclass(frozen=True, slots=True)
class Text:
    """One text. `span` is where, in characters, the attack stands in it; None where all of it may be the attack."""

    text: str
    label: int
    source: str
    data: bool  # from the retrieved and tool channels, not from the user's
    span: tuple[int, int] | None = None
    made_of: tuple[str, ...] = ()  # the written texts of a document that tools return

    @property
    def is_kept_back(self) -> bool:
        """From the head that weighs documents, so that what is made of its logits is fitted on texts new to it."""
        return any(is_kept_back(text) for text in self.made_of)


def is_kept_back(written: str) -> bool:
    return share_of(written, _KEPT_BACK) == 0


def share_of(name: str, parts: int) -> int:
    """The part, of so many, that a name or text falls into: the same on every machine."""
    return int.from_bytes(blake2b(name.encode(), digest_size=4).digest(), "big") % parts


_KEPT_BACK = 7  # one of so many written documents and orders


def read_rows(file: Path) -> list[Text]:
    """The given rows. In composed documents, the attack is found again by its bare copy."""
    rows = [json.loads(line) for line in file.read_text().split("\n") if line]
    bare = sorted((r["text"] for r in rows if r["kind"] == "indirect_instruction"), key=len, reverse=True)
    return [_read_row(row, bare) for row in rows]


def weighted(rows: Sequence[Text]) -> Iterator[Text]:
    """The given rows, those that people wrote several times: they are few beside what grammars make."""
    for row in rows:
        times = 1 if row.source.startswith("generated-") else _REAL_ATTACK_TIMES if row.label else _REAL_HARMLESS_TIMES
        for _ in range(times):
            yield row


def _read_row(row: dict[str, object], bare: Sequence[str]) -> Text:
    text, source, kind = str(row["text"]), str(row["source"]), row["kind"]
    span = None
    if source == "bipia-train-composed":
        at, attack = next(((text.find(a), a) for a in bare if a in text), (-1, ""))
        span = (at, at + len(attack)) if at >= 0 else None
    return Text(text, int(str(row["label"])), source, kind in _DATA_KINDS, span)


def generated(rows: Sequence[Text], seed: int) -> Iterator[Text]:
    """Attacks, harmless look-alikes and pairs of documents. `rows` give carriers and attacks for the pairs."""
    chance = random.Random(seed)
    attacks, benign, documents = (Grammar(HERE / f"{name}.grammar") for name in ("attacks", "benign", "documents"))
    for rule, count in _ATTACKS.items():
        for _ in range(count):
            yield Text(vary(attacks.expand(rule, chance), chance), 1, f"made-{rule}", False)
    for rule, count in _BENIGN.items():
        for _ in range(count):
            yield Text(vary(benign.expand(rule, chance), chance), 0, f"made-benign-{rule}", False)
    for _ in range(_ORDINARY):  # what the attacks ask for is harmless where nobody is told to drop anything
        yield Text(vary(attacks.expand("ordinary", chance), chance), 0, "made-benign-ordinary", False)
    for name, label in _WRITTEN.items():
        for text in written(name):
            for _ in range(_WRITTEN_TIMES):
                yield Text(vary(text, chance), label, f"written-{name}", False)
    yield from _pairs(rows, attacks, documents, chance)
    yield from _encoded([row for row in rows if not row.label], chance)
    yield from _read(benign, chance)


def written(name: str) -> list[str]:
    """The texts of `texts/NAME.txt`, `NAME2.txt` and so on, parted by lines of `%%`."""
    files = sorted(file for file in (HERE / "texts").glob(f"{name}*.txt") if file.stem.rstrip("0123456789") == name)
    return [text.strip() for file in files for text in file.read_text().split("\n%%\n") if text.strip("%\n ")]


def _encoded(harmless: Sequence[Text], chance: random.Random) -> Iterator[Text]:
    """Harmless texts in other clothes: how something is written must not make it an attack."""
    for _ in range(_ENCODED):
        text = chance.choice(harmless).text[:300]
        yield Text(chance.choice(_ENCODINGS)(text), 0, "made-encoded", chance.random() < 0.5)


def _read(benign: Grammar, chance: random.Random) -> Iterator[Text]:
    """Disguised texts as the guard reads them. The worst reading counts, so every reading of a harmless text must be
    harmless, also words in the wrong order or run together; of an attack only one that has most of its words is one."""
    triggers = [benign.expand("trigger", chance) for _ in range(_READ_HARMLESS // 3)]
    sources = (written("harmless_twins"), written("prompts"), triggers)
    disguises = (*_ENCODINGS, *_MANGLING, *_MANGLING)
    for _ in range(_READ_HARMLESS):
        text = chance.choice(chance.choice(sources))[:_READ_CHARS]
        disguised = chance.choice(disguises)(text)
        for reading in (disguised, *(view.text for view in views(disguised))):
            if reading != text:
                yield Text(reading, 0, "read-harmless", False)
    for _ in range(_PIECES):
        words = chance.choice(chance.choice(sources)).split()
        at = chance.randrange(max(1, len(words) - 3))
        yield Text(" ".join(words[at : at + chance.randint(3, 6)]), 0, "read-harmless", False)
    attacks = [text for text in written("injections") + written("jailbreaks") if len(text) <= _READ_CHARS]
    for _ in range(_READ_ATTACKS):
        text = chance.choice(attacks)
        for view in views(chance.choice(disguises)(text)):
            if view.text != text and _has_words(view.text, text):
                yield Text(view.text, 1, "read-attacks", False)


def _has_words(reading: str, text: str) -> bool:
    read, said = (re.findall(r"\w+", one.lower()) for one in (reading, text))
    return len(set(read) & set(said)) >= 0.7 * len(set(said)) and read[:1] == said[:1]


_MORSE_SIGNS = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.."
)
_MORSE = dict(zip("abcdefghijklmnopqrstuvwxyz", _MORSE_SIGNS.split(), strict=True))
_MANGLING: tuple[Callable[[str], str], ...] = (  # what comes back from these has lost something, or is read amiss
    lambda t: t[::-1],
    lambda t: " ".join(word[::-1] for word in t.split()),
    lambda t: "-".join(t.replace(" ", "")),
    lambda t: " ".join("-".join(word) for word in t.split()),
    lambda t: ".".join(t.replace(" ", "")),
    lambda t: re.sub(r"\W+", "_", t),
    lambda t: re.sub(r"\W+", "-", t),
    lambda t: t.replace(" ", "+"),
    lambda t: re.sub(r"\W", "", t.title()),
)
_ENCODINGS: tuple[Callable[[str], str], ...] = (
    lambda t: base64.b64encode(t.encode()).decode(),
    lambda t: base64.b32encode(t.encode()).decode(),
    lambda t: t.encode().hex(),
    lambda t: t.encode().hex(" "),
    lambda t: " ".join(f"{byte:08b}" for byte in t.encode()),
    lambda t: " ".join(str(byte) for byte in t.encode()),
    lambda t: ", ".join(str(byte) for byte in t.encode()),
    lambda t: codecs.encode(t, "rot13"),
    lambda t: t.translate(str.maketrans("aeiost", "431057")),
    lambda t: "  ".join(" ".join(word) for word in t.split()),
    lambda t: " ".join(t.replace(" ", "")),
    lambda t: base64.b32encode(t.encode()).decode().lower(),
    lambda t: base64.b64encode(t.encode("utf-16-le")).decode(),
    lambda t: ", ".join(f"0x{byte:02x}" for byte in t.encode()),
    lambda t: " / ".join(" ".join(_MORSE.get(c, "") for c in word.lower()) for word in t.split()),
    lambda t: re.sub(r"[^\w\s]", "", t).lower(),  # as it reads where punctuation was lost on the way
    lambda t: re.sub(r"[^\w\s]", " ", t).title(),
    lambda t: re.sub(r"[^a-z ]", "", t.lower()),
    lambda t: "\u00ad".join(t),
    lambda t: "\u200b".join(t),
    lambda t: f"<p>Welcome</p><!-- {t} --><p>to our shop</p>",
    lambda t: f'<div style="display:none">{t}</div>',
    lambda t: "".join(f"%{byte:02x}" for byte in t.encode()),
    lambda t: quote(t, safe=""),
    lambda t: quote("".join(f"&#{ord(c)};" for c in t), safe=""),
    lambda t: "".join(f"&#{ord(c)};" for c in t),
    lambda t: "".join(f"&#x{ord(c):x};" for c in t),
    lambda t: "".join(f"\\u{ord(c):04x}" for c in t),
    lambda t: "x = " + " + ".join(f'"{t[i : i + 5]}"' for i in range(0, len(t), 5)),
    lambda t: " ".join(w[:2] + "**" + w[2:] if len(w) > 4 else w for w in t.split()),
    *_MANGLING,
)


def _pairs(rows: Sequence[Text], attacks: Grammar, documents: Grammar, chance: random.Random) -> Iterator[Text]:
    """Each document clean and with something put into it."""
    real = written("documents")
    carriers = [r.text for r in rows if r.label == 0 and r.data]
    for document in real:
        for _ in range(_DOCUMENT_TIMES):
            yield Text(document, 0, "written-documents", True, None, (document,))
    for note in written("notes") + written("requests"):
        yield Text(note, 1, "written-bare-notes", True, (0, len(note)), (note,))
        for _ in range(_NOTE_PAIRS):
            clean = chance.choice(chance.choice((real, real, carriers)))
            injected = inject(clean[:MAX_CHARS], vary(note, chance), chance, "written-notes")
            yield replace(injected, made_of=(note, clean))
    notes = [row.text for row in rows if row.label and row.source in _NOTE_SOURCES]
    for _ in range(_PAIRS):
        draw = chance.random()
        clean = documents.expand("document", chance) if draw < 0.4 else chance.choice(carriers if draw < 0.7 else real)
        made_of, clean = (clean,), clean[:MAX_CHARS]
        from_grammar = chance.random() < _GRAMMAR_SHARE
        note = attacks.expand("indirect_note", chance) if from_grammar else chance.choice(notes)[:600]
        if chance.random() < _BARE_SHARE:
            yield Text(note, 1, "made-bare-notes", True, (0, len(note)))
        yield Text(clean, 0, "made-document", True, None, made_of)
        yield replace(inject(clean, vary(note, chance), chance, "made-injected"), made_of=made_of)


def inject(clean: str, note: str, chance: random.Random, source: str) -> Text:
    """Put `note` at the start, the end, or between two lines, sentences or values."""
    where = chance.random()
    if where < 0.2:
        at = 0
    elif where < 0.5:
        at = len(clean)
    else:
        seams = [i for i in range(1, len(clean)) if clean[i - 1] in "\n.\"'>,}" and clean[i] in ' \n"<{']
        at = chance.choice(seams) if seams else len(clean)
    before, after = clean[:at], clean[at:]
    glue = chance.choice([" ", "\n", "\n\n", ". "])
    head = before + glue if before else ""
    return Text(head + note + glue + after, 1, source, True, (len(head), len(head) + len(note)))


def vary(text: str, chance: random.Random) -> str:
    """Small carelessness: case, punctuation, spaces, a letter gone."""
    draw = chance.random()
    if draw < 0.08:
        text = text.lower()
    elif draw < 0.12:
        text = text.upper()
    elif draw < 0.18:
        text = text.rstrip(".!? ")
    elif draw < 0.22 and len(text) > 20:
        at = chance.randrange(len(text) - 1)
        text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    elif draw < 0.24:
        text = text.replace(",", "").replace("'", "")
    elif draw < 0.30:
        text = re.sub(r"[^\w\s]", chance.choice(("", " ")), text)  # as decoding leaves it
    return text
