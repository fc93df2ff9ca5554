"""What a text may also say: the readings that a model makes of it and a filter that looks at letters does not.

One pass looks for the traces of every encoding, so that plain text costs next to nothing. What is decoded is decoded
again, a few levels deep, and all of it together is bounded: a text that decodes into more is read as far as the bound
goes. Decoding is no finding by itself; it is what it says that counts.
"""

import base64
import binascii
import html
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from math import log
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import re2

from vallum.guards.injection.features import few_marks
from vallum.guards.plain import UNSEEN

__all__ = ["MAX_DEPTH", "MAX_VIEWS", "View", "views"]

MAX_DEPTH = 3
MAX_VIEWS = 48
MAX_DECODED_CHARS = 24_000  # of all readings together
_SHARE_CHARS = MAX_DECODED_CHARS // 3  # of one kind: harmless readings of one leave room for another
_MIN_RUN = 12  # the shortest encoded run that can hold an order


@dataclass(frozen=True, slots=True)
class View:
    """Another reading: how it was made, what it says, and where in the text (all of it, for most) it was hidden."""

    kind: str
    text: str
    start: int
    end: int

    def __repr__(self) -> str:
        return f"View({self.kind}, {len(self.text)} characters, {self.start}, {self.end})"


def views(text: str) -> list[View]:
    """The other readings of `text`, in a fixed order, without `text` itself and without repetition."""
    found: list[View] = []
    seen = {text}
    budget = MAX_DECODED_CHARS
    spent: Counter[str] = Counter()
    level = [View("", text, 0, len(text))]
    for _ in range(MAX_DEPTH):
        deeper: list[View] = []
        for view in level:
            for kind, decoded, start, end in _decode(view.text, spent):
                decoded = decoded[: min(budget, _SHARE_CHARS - spent[kind])]
                if decoded in seen or not decoded.strip():
                    continue
                budget -= len(decoded)
                spent[kind] += len(decoded)
                seen.add(decoded)
                name = f"{view.kind}+{kind}" if view.kind else kind
                place = (start, end) if not view.kind else (view.start, view.end)
                deeper.append(View(name, decoded, *place))
                found.append(deeper[-1])
                if budget <= 0 or len(found) >= MAX_VIEWS:
                    return found
        if not deeper:
            break
        level = deeper
    return found


_Decoded = tuple[str, str, int, int]


def _decode(text: str, spent: Mapping[str, int]) -> Iterator[_Decoded]:
    """Runs are looked for in all of the text, other readings piece by piece, where a piece has their trace.

    `spent` says how much of each kind was read: of a kind whose share is used up, no more is worth the work.
    """
    present = sorted(_traces().Match(text.encode("ascii", "replace")) or ())
    pieces = [(0, text)] if len(text) <= _PIECE_CHARS else _pieces(text)
    for index in present:
        decoder = _DECODERS[index]
        if decoder.parts is not None:
            for part, start, end in decoder.parts(text):
                yield decoder.kind, part, start, end
    for at, piece in pieces:
        if not piece.isascii() and spent.get("letters", 0) < _SHARE_CHARS:
            decoded = _plain_letters(piece)
            if decoded != piece:
                yield "letters", decoded, at, at + len(piece)
        if not present:
            continue
        for index in present if piece is text else sorted(_traces().Match(piece.encode("ascii", "replace")) or ()):
            decoder = _DECODERS[index]
            if spent.get(decoder.kind, 0) >= _SHARE_CHARS:
                continue
            read = decoder.whole(piece) if decoder.whole is not None else None
            if read is not None and read != piece:
                yield decoder.kind, read, at, at + len(piece)


_PIECE_CHARS = 16_384
_OVERLAP_CHARS = 512


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    for at in range(0, len(text), _PIECE_CHARS - _OVERLAP_CHARS):
        yield at, text[at : at + _PIECE_CHARS]


@dataclass(frozen=True, slots=True)
class _Decoder:
    """`trace` is an RE2 expression that matches wherever there is something to decode, and seldom elsewhere."""

    kind: str
    trace: str
    whole: Callable[[str], str | None] | None = None
    parts: Callable[[str], Iterator[tuple[str, int, int]]] | None = None


@cache
def _traces() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    traces = re2.Set.SearchSet(options)
    for decoder in _DECODERS:
        traces.Add(decoder.trace.encode())
    traces.Compile()
    return traces


# readings of the whole text

_TAGS = re.compile("[\U000e0020-\U000e007e]+")
_MARKS = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")


def _plain_letters(text: str) -> str:
    """Without what is not seen, and with the letters that others only look like."""
    text = _TAGS.sub(lambda m: " " + "".join(chr(ord(c) - 0xE0000) for c in m[0]) + " ", text)
    text = few_marks(UNSEEN.sub("", text))
    if text.isascii():
        return text
    text = unicodedata.normalize("NFKC", text)
    stacked = unicodedata.normalize("NFD", text)
    if len(_MARKS.findall(stacked)) * _MANY_MARKS > len(text):  # no language marks so many of its letters
        text = _MARKS.sub("", stacked)
    return _MIXED.sub(_unmix, text)


_MANY_MARKS = 3


# Letters of other scripts that are drawn like Latin ones. Source: Unicode's confusables, the single-letter pairs.
_ALIKE = {
    "a": "аαɑᴀ", "b": "ЬƄʙ", "c": "сϲᴄⅽ", "d": "ԁɗᴅđ", "e": "еεҽᴇ", "g": "ɡɢց", "h": "һհʜħ", "i": "іıɩɪι", "j": "јᴊ",
    "k": "кκᴋ", "l": "ӏʟłⅼ", "m": "мᴍⅿ", "n": "ոпɴη", "o": "оοօᴏøσ", "p": "рρᴘ", "q": "ԛ", "r": "гʀᴦ", "s": "ѕꜱ",
    "t": "тτᴛŧ", "u": "υսᴜ", "v": "ѵνᴠ", "w": "ԝωᴡ", "x": "хχ", "y": "уγʏү", "z": "ᴢ",
    "A": "АΑ", "B": "ВΒ", "C": "СϹ", "E": "ЕΕ", "H": "НΗ", "I": "ІΙ", "J": "Ј", "K": "КΚ", "M": "МΜ", "N": "Ν",
    "O": "ОΟ", "P": "РΡ", "S": "Ѕ", "T": "ТΤ", "X": "ХΧ", "Y": "УΥҮ", "Z": "Ζ", "L": "Ꮮ", "G": "Ԍ",
}  # fmt: skip
_ALIKE_TABLE = str.maketrans({drawn: letter for letter, many in _ALIKE.items() for drawn in many})
_MIXED = re.compile(r"[^\W\d_]+")
_LATIN = re.compile("[A-Za-z]")


def _unmix(match: re.Match[str]) -> str:
    """A word with Latin letters in it, or one that is Latin altogether once read so, is meant to be read as Latin."""
    word = match[0]
    if word.isascii():
        return word
    read = word.translate(_ALIKE_TABLE)
    if read.isascii() and (_LATIN.search(word) or len(word) < _SHORT_WORD or _looks_english(read)):
        return read
    return read if _LATIN.search(word) and sum(c.isascii() for c in read) * 5 >= len(read) * 4 else word


_SHORT_WORD = 4


def _looks_english(word: str) -> bool:
    return any(part in word.lower() for part in _ENGLISH_PARTS)


_ENGLISH_PARTS = ("ing", "tion", "ore", "all", "pre", "ous", "ign", "ster", "mpt", "rule", "over", "you", "for", "the")

_LEET = re.compile(r"[A-Za-z][0134578@$!|+]{1,3}[A-Za-z]")
_LEET_WORD = re.compile(
    r"(?<![A-Za-z0-9@$!|+])(?=[A-Za-z269]*[0134578@$!|+])[A-Za-z0-9@$!|+]{2,24}(?![A-Za-z0-9@$!|+])"
)
_LEET_TABLE = str.maketrans("0134578@$|+", "oieastbasit")


_LEET_FIGURES = re.compile(r"(?<![\w.,$])(?:4|1|70|15|17|47|50|45|4m|4n|1n|1f|15)(?![\w.,%])")
_MANY_LEET = 4


def _unleet(text: str) -> str | None:
    if not _has_two(_LEET, text):
        return None
    read = _LEET_WORD.sub(_unleet_word, text)
    if len(_LEET.findall(text)) >= _MANY_LEET:  # then words of figures alone are words, too
        read = _LEET_FIGURES.sub(lambda match: match[0].translate(_LEET_TABLE), read)
    return read


def _unleet_word(match: re.Match[str]) -> str:
    word = match[0]
    if word.isalpha() or not any(c.isalpha() for c in word):
        return word
    body = word.rstrip("!|")
    return body.replace("!", "i").translate(_LEET_TABLE) + word[len(body) :]


_ALTERNATING = re.compile(r"(?<!\S)\S([-._*|/\\~+])\S(?:\1\S)+(?!\S)")
_PAIR = re.compile(r"(?<!\S)([A-Za-z])[-._*|/\\~+]([A-Za-z])(?!\S)")
_SINGLES = re.compile(r"(?<!\S)\S(?:[ ]{1,3}\S(?!\S)){5,}")


def _unspace(text: str) -> str | None:
    """`i g n o r e  a l l`, `i-g-n-o-r-e a-l-l`, and both run together."""
    parting = _Parting()
    read, many = _ALTERNATING.subn(lambda match: parting.part(match[0][::2]), text)
    if many > 1:
        read = _PAIR.sub(r"\1\2", read)
    read = _SINGLES.sub(lambda match: parting.join(match[0]), read)
    return read if read != text else None


_LONG_WORD = 14
_MAX_PARTED_CHARS = 1200  # of one text; parting takes some twenty lookups for each
_RUN = re.compile(r"[A-Za-z]+")


class _Parting:
    """Words run together, parted where known words are: the likeliest split, as far as its bound goes."""

    def __init__(self) -> None:
        self._left = _MAX_PARTED_CHARS

    def join(self, letters: str) -> str:
        """Letters with a space between each, and more between words, if at all."""
        return " ".join(self.part(word.replace(" ", "")) for word in re.split(" {2,}", letters))

    def part(self, joined: str) -> str:
        return _RUN.sub(lambda match: self._parted(match[0]), joined) if len(joined) > _LONG_WORD else joined

    def _parted(self, letters: str) -> str:
        if len(letters) <= 2 or letters.lower() in _costs():
            return letters
        taken = letters[: self._left]
        self._left -= len(taken)
        return " ".join([*_segment(taken.lower()), letters[len(taken) :]]).strip()


@cache
def _costs() -> dict[str, float]:
    """What each known word costs a split: the rarer, the more. Source: Zipf's law, as common segmenters use it."""
    lines = (Path(__file__).parent / "words.txt").read_text().split("\n")
    words = " ".join(line for line in lines if not line.startswith("#")).split()
    return {word: log(rank * log(len(words))) for rank, word in enumerate(words, start=2)}


_UNKNOWN_COST = 12.0  # of a letter that is in no word
_LONGEST_WORD = 16


def _segment(letters: str) -> list[str]:
    costs = _costs()
    best = [0.0]
    begins = [0]
    for end in range(1, len(letters) + 1):
        cost, begin = best[end - 1] + _UNKNOWN_COST, end - 1
        for start in range(max(0, end - _LONGEST_WORD), end):
            word = costs.get(letters[start:end])
            if word is not None and best[start] + word < cost:
                cost, begin = best[start] + word, start
        best.append(cost)
        begins.append(begin)
    parts: list[str] = []
    end = len(letters)
    while end:
        start = begins[end]
        if end - start == 1 and letters[start:end] not in costs and parts and parts[-1] not in costs:
            parts[-1] = letters[start:end] + parts[-1]  # letters in no word stay together
        else:
            parts.append(letters[start:end])
        end = start
    return parts[::-1]


_JOINED_WORDS = re.compile(r"(?<![^\W_])[^\W_]{1,20}(?:[_.+~-][^\W_]{1,20}){4,}")
_HUMPS = re.compile(r"(?<![^\W_])[A-Za-z][a-z]{0,20}(?:[A-Z0-9][a-z]{0,20}){4,}")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[A-Z][a-z])")


def _unjoin_words(text: str) -> str | None:
    """`ignore_all_previous_instructions`, and `ignoreAllPreviousInstructions`."""
    read = _JOINED_WORDS.sub(lambda match: re.sub("[_.+~-]", " ", match[0]), text)
    read = _HUMPS.sub(lambda match: _HUMP.sub(" ", match[0]), read)
    return read if read != text else None


_HYPHENATED = re.compile(r"[a-z]{1,5}[-·‐][a-z]{1,5}(?:[-·‐][a-z]{1,5}){0,4}", re.IGNORECASE)


def _unhyphenate(text: str) -> str | None:
    """`ig-nore all pre-vi-ous in-struc-tions`: more broken words than a text has."""
    if not _has_two(_HYPHENATED, text):
        return None
    return re.sub(r"(?<=[A-Za-z])[-·‐](?=[A-Za-z])", "", text)


_ROT13 = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "NOPQRSTUVWXYZABCDEFGHIJKLMnopqrstuvwxyzabcdefghijklm"
)
_COMMON = (
    "the and you your all that this not with for are previous instructions ignore system prompt show tell from now"
)


_ATBASH = str.maketrans(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "ZYXWVUTSRQPONMLKJIHGFEDCBAzyxwvutsrqponmlkjihgfedcba"
)
_TURNS: dict[str, Callable[[str], str]] = {
    "rot13": lambda word: word.translate(_ROT13),
    "atbash": lambda word: word.translate(_ATBASH),
    "reversed": lambda word: word[::-1],
}


def _turned(how: str) -> str:
    """Two of the common words, turned: one may be a word of some language, or an abbreviation."""
    words = [_TURNS[how](word) for word in _COMMON.split()]
    one = rf"\b(?:{'|'.join(words)})\b"
    return rf"(?is){one}.*{one}"


def _unreverse_words(text: str) -> str:
    """Each word turned round, the words in order: with its punctuation, unless that still ends words as it should."""
    turned = r"[^\W_]+" if _STOP.search(text) else r"\S+"
    return re.sub(turned, lambda m: m[0][::-1], text)


_STOP = re.compile(r"\w[.,;:?!](?:\s|$)")


def _has_two(pattern: re.Pattern[str], text: str) -> bool:
    first = pattern.search(text)
    return first is not None and pattern.search(text, first.end()) is not None


_PERCENT = re.compile(r"(?:%[0-9A-Fa-f]{2}){3}|%20\w+%20")
_ENTITY = re.compile(r"&(?:#\d{2,6}|#x[0-9a-fA-F]{2,5}|[a-z]{2,8});")
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U[0-9a-fA-F]{8})")


def _unquote(text: str) -> str | None:
    return unquote(text, errors="replace") if _PERCENT.search(text) else None


def _unescape_entities(text: str) -> str | None:
    return _ENTITY.sub(lambda match: html.unescape(match[0]), text) if _ENTITY.search(text) else None


def _unescape(text: str) -> str | None:
    if _ESCAPE.search(text) is None:
        return None
    return _ESCAPE.sub(lambda m: _char(int(m[0][2:], 16)), text)


def _char(number: int) -> str:
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else "\ufffd"


_JOINS = re.compile(r"""["']\s*(?:\+|\.\.|&|\|\|)\s*["']""")


_STRINGS = re.compile(r"""(["'])(?:(?!\1).){0,400}\1(?:\s*(?:\+|\.\.|&|\|\|)\s*\1(?:(?!\1).){0,400}\1)+""")


def _join_strings(text: str) -> str | None:
    """`"ign" + "ore"`"""
    return _JOINS.sub("", text) if _JOINS.search(text) else None


def _joined_strings(text: str) -> Iterator[tuple[str, int, int]]:
    """The strings by themselves, without what they are given to."""
    for match in _STRINGS.finditer(text):
        yield _JOINS.sub("", match[0])[1:-1], match.start(), match.end()


_MARKUP = re.compile(r"<[/!?a-zA-Z][^<>]{0,400}>")


def _unmark(text: str) -> str | None:
    """HTML without its tags, as a reader sees the words."""
    return _MARKUP.sub(" ", text) if _has_two(_MARKUP, text) else None


_BROKEN = re.compile(r"(?<=[a-z])(?:\*\*|__|``|<!---->|</?[biu]>)(?=[a-z])", re.IGNORECASE)


def _unsplit_markup(text: str) -> str | None:
    """`ig**no**re`"""
    return _BROKEN.sub("", text) if _BROKEN.search(text) else None


# readings of a part

_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{16,})*={0,2}")
_BASE32 = re.compile(r"(?<![A-Za-z0-9])(?:[A-Z2-7]{24,}|[a-z2-7]{24,})={0,6}")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x)?[0-9a-fA-F]{2}[ :,;]{0,2}){12,}")
_BITS = re.compile(r"(?<![0-9])(?:[01]{8}[ ]?){8,}")
_DECIMALS = re.compile(r"(?<![0-9])(?:1?[0-9]{2}[, ]{1,2}){11,}1?[0-9]{2}")
_COMMENT = re.compile(r"<!--([^<]{8,})|^\[//\]: # [(\"]([^\n]{8,})|/\*([^/]{8,})", re.MULTILINE)
_HIDING = re.compile(
    r"(?i)display\s?:\s?none|font-size\s?:\s?0|visibility\s?:\s?hidden|opacity\s?:\s?0|color\s?:\s?(?:white|#fff)|\shidden\b"
)
_ELEMENT = re.compile(r"<\w[^<>]{0,400}>([^<]{8,})")


def _base64_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _BASE64.finditer(text):
        run = re.sub(r"\s", "", match[0]).rstrip("=").translate(_URL_SAFE)
        if len(run) % 4 == 1:
            run = run[:-1]
        yield from _bytes_of(partial(base64.b64decode, run + "=" * (-len(run) % 4)), match)


_URL_SAFE = str.maketrans("-_", "+/")


def _base32_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _BASE32.finditer(text):
        run = match[0].rstrip("=").upper()
        run = run[: len(run) - (len(run) % 8 in (1, 3, 6))]
        yield from _bytes_of(partial(base64.b32decode, run + "=" * (-len(run) % 8)), match)


def _hex_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _HEX.finditer(text):
        run = re.sub(r"0x|[^0-9a-fA-F]", "", match[0])
        yield from _bytes_of(partial(bytes.fromhex, run[: len(run) // 2 * 2]), match)


def _bit_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _BITS.finditer(text):
        yield from _bytes_of(partial(_from_bits, match[0].replace(" ", "")), match)


def _from_bits(bits: str) -> bytes:
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def _decimal_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _DECIMALS.finditer(text):
        numbers = re.findall(r"\d+", match[0])
        yield from _bytes_of(partial(bytes, [int(number) for number in numbers]), match)


_ENCODINGS = {(False, True): "utf-16-le", (True, False): "utf-16-be"}  # by which of the first two bytes is zero


def _bytes_of(decode: Callable[[], bytes], match: re.Match[str]) -> Iterator[tuple[str, int, int]]:
    """What was encoded, where it is text: random bytes decode to something too."""
    try:
        raw = decode()
        decoded = raw.decode(_ENCODINGS.get((raw[:1] == b"\0", raw[1:2] == b"\0"), "utf-8"))
    except (ValueError, binascii.Error):
        return
    printable = sum(c.isprintable() or c in "\n\t" for c in decoded)
    if len(decoded) >= _MIN_RUN and printable * 20 >= len(decoded) * 19:
        yield decoded, match.start(), match.end()


_MORSE = re.compile(r"(?<![^\s/|])(?:[.-]{1,6}[ /|]{1,3}){12,}[.-]{1,6}")
_MORSE_SIGNS = """
.- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --..
----- .---- ..--- ...-- ....- ..... -.... --... ---.. ----. .-.-.- --..-- ..--..
"""
_MORSE_LETTERS = dict(zip(_MORSE_SIGNS.split(), "abcdefghijklmnopqrstuvwxyz0123456789.,?", strict=True))


def _morse_runs(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _MORSE.finditer(text):
        words = re.split(r"\s*[/|]\s*|\s{3}", match[0])
        read = " ".join("".join(_MORSE_LETTERS.get(sign, "") for sign in word.split()) for word in words)
        if len(read) >= _MIN_RUN:
            yield read, match.start(), match.end()


def _comments(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _COMMENT.finditer(text):
        yield next(group for group in match.groups() if group is not None), match.start(), match.end()


def _hidden_elements(text: str) -> Iterator[tuple[str, int, int]]:
    if _HIDING.search(text) is None:
        return
    for match in _ELEMENT.finditer(text):
        if _HIDING.search(text, match.start(), match.start(1)):
            yield match[1], match.start(), match.end()


_DECODERS = (
    _Decoder("leet", r"[A-Za-z][0134578@$!|+]{1,3}[A-Za-z]", _unleet),
    _Decoder("spaced", r"(?:^|[^A-Za-z0-9])[A-Za-z](?:[ ._*|/\\~+-]{1,2}[A-Za-z']){4}(?:$|[^A-Za-z0-9])", _unspace),
    _Decoder("hyphenated", r"[A-Za-z]{1,5}[-?][A-Za-z]{1,5}", _unhyphenate),
    _Decoder("joined_words", r"[A-Za-z](?:[_.+~-][A-Za-z]{1,20}){4}|(?:[A-Z][a-z]{0,20}){4}", _unjoin_words),
    _Decoder("rot13", _turned("rot13"), _TURNS["rot13"]),
    _Decoder("atbash", _turned("atbash"), _TURNS["atbash"]),
    _Decoder("reversed", _turned("reversed"), _TURNS["reversed"]),
    _Decoder("reversed_words", _turned("reversed"), _unreverse_words),
    _Decoder("percent", r"%[0-9A-Fa-f]{2}", _unquote),
    _Decoder("entities", r"&#?\w{2,8};", _unescape_entities),
    _Decoder("escapes", r"\\[uxU][0-9a-fA-F]{2}", _unescape),
    _Decoder("strings", _JOINS.pattern, _join_strings, _joined_strings),
    _Decoder("markup", r"<[/!?a-zA-Z]", _unmark),
    _Decoder("split_words", r"(?i)[a-z](?:\*\*|__|``|<!---->|</?[biu]>)[a-z]", _unsplit_markup),
    _Decoder("base64", r"[A-Za-z0-9+/_-]{16}", parts=_base64_runs),
    _Decoder("base32", r"[A-Z2-7]{24}|[a-z2-7]{24}", parts=_base32_runs),
    _Decoder("hex", r"(?:(?:0x)?[0-9a-fA-F]{2}[ :,;]{0,2}){12}", parts=_hex_runs),
    _Decoder("morse", r"(?:[.-]{1,6}[ /|]{1,3}){12}", parts=_morse_runs),
    _Decoder("binary", r"(?:[01]{8} ?){8}", parts=_bit_runs),
    _Decoder("decimal", r"(?:1?[0-9]{2}[, ]{1,2}){11}", parts=_decimal_runs),
    _Decoder("comment", r"<!--|/\*|\[//\]:", parts=_comments),
    _Decoder("hidden_element", r"(?i)hidden|none|font-size|opacity|color", parts=_hidden_elements),
)
