"""The two codes of Zstandard's blocks: finite state entropy and Huffman, each as a table that a stream is read by.

Streams are read from their last bit backwards; reading before their start yields zeros and is the caller's to notice.
Source: RFC 8878, sections 4.1 and 4.2.
"""

from itertools import accumulate
from typing import NamedTuple

__all__ = [
    "Backward",
    "Corrupt",
    "Table",
    "fse_table",
    "huffman_table",
    "read_distribution",
    "read_huffman",
    "running",
    "table_of_one",
]

_MAX_WEIGHTS_LOG, _MAX_HUFFMAN_BITS = 6, 11
_REFILL = 32


class Corrupt(Exception):
    """What does not fit, for a message."""


class Table(NamedTuple):
    """By state: the symbol, how many bits to read next, and what to add them to. `log`: bits of the first state."""

    log: int
    symbols: list[int]
    bits: list[int]
    bases: list[int]


class Backward:
    """Bits from the end of `data`. `left` is negative when more was read than there is."""

    __slots__ = ("_at", "_data", "_have", "_value", "left")

    def __init__(self, data: bytes) -> None:
        if not data or not data[-1]:
            raise Corrupt("a stream without its last bit")
        unused = 9 - data[-1].bit_length()
        self._data, self._at, self._value, self._have = data, len(data), 0, 0
        self.left = 8 * len(data) - unused
        self._refill()
        self._have -= unused

    def _refill(self) -> None:
        start = max(0, self._at - _REFILL)
        fresh = int.from_bytes(self._data[start : self._at], "little")
        fresh <<= 8 * (_REFILL - (self._at - start))  # before the start there are zeros
        self._value = (self._value & (1 << self._have) - 1) << 8 * _REFILL | fresh
        self._have += 8 * _REFILL
        self._at = start

    def read(self, count: int) -> int:
        if count > self._have:
            self._refill()
        self._have -= count
        self.left -= count
        return self._value >> self._have & (1 << count) - 1

    def symbols(self, table: tuple[int, bytes, bytes], count: int) -> bytearray:
        """That many by a Huffman table. Raises Corrupt when the stream does not end with the last of them."""
        log, letters, lengths = table
        mask, out = (1 << log) - 1, bytearray()
        value, have, left = self._value, self._have, self.left
        for _ in range(count):
            if have < log:
                self._value, self._have = value, have
                self._refill()
                value, have = self._value, self._have
            index = value >> have - log & mask
            out.append(letters[index])
            have -= lengths[index]
            left -= lengths[index]
        self._value, self._have, self.left = value, have, left
        if left:
            raise Corrupt("literals that do not end with their stream")
        return out


def read_distribution(data: bytes, at: int, most_log: int, most_symbols: int) -> tuple[int, list[int], int]:
    """A table's description: its log, how often each symbol stands in it (-1: less than once), and where it ends."""
    value, bit = int.from_bytes(data[at : at + 512], "little"), 4
    log = (value & 15) + 5
    if log > most_log:
        raise Corrupt("a table that is too large")
    remaining = 1 << log
    counts: list[int] = []
    while remaining > 0:
        if len(counts) >= most_symbols:
            raise Corrupt("a table of too many symbols")
        size = (remaining + 1).bit_length()
        read = value >> bit & (1 << size) - 1
        low = (1 << size - 1) - 1
        threshold = (1 << size) - 1 - (remaining + 1)
        if read & low < threshold:
            read, bit = read & low, bit + size - 1
        else:
            read, bit = read - threshold if read > low else read, bit + size
        counts.append(read - 1)
        remaining -= abs(read - 1)
        while read == 1:
            zeros, bit = value >> bit & 3, bit + 2
            counts += [0] * zeros
            if zeros < 3 or len(counts) > most_symbols:
                break
    if remaining or len(counts) > most_symbols or at + (bit + 7) // 8 > len(data):
        raise Corrupt("a table that does not come out even")
    return log, counts, at + (bit + 7) // 8


def fse_table(log: int, counts: list[int]) -> Table:
    """Section 4.1.1."""
    size = 1 << log
    symbols, following, high = [0] * size, [max(1, abs(count)) for count in counts], size
    for symbol, count in enumerate(counts):
        if count < 0:
            high -= 1
            symbols[high] = symbol
    step, mask, position = (size >> 1) + (size >> 3) + 3, size - 1, 0
    for symbol, count in enumerate(counts):
        for _ in range(max(0, count)):
            symbols[position] = symbol
            position = (position + step) & mask
            while position >= high:
                position = (position + step) & mask
    bits, bases = [], []
    for symbol in symbols:
        state = following[symbol]
        following[symbol] += 1
        bits.append(log - state.bit_length() + 1)
        bases.append((state << bits[-1]) - size)
    return Table(log, symbols, bits, bases)


def table_of_one(symbol: int) -> Table:
    return Table(0, [symbol], [0], [0])


def read_huffman(data: bytes, at: int) -> tuple[tuple[int, bytes, bytes], int]:
    """The table that literals are read by, and where its description ends (section 4.2.1)."""
    head = data[at]
    if head >= 128:
        count, start = head - 127, at + 1
        end = start + (count + 1) // 2
        weights = [part for byte in data[start:end] for part in (byte >> 4, byte & 15)][:count]
    else:
        end = at + 1 + head
        log, counts, start = read_distribution(data[:end], at + 1, _MAX_WEIGHTS_LOG, 16)
        weights = _weights(fse_table(log, counts), Backward(data[start:end]))
    if end > len(data):
        raise Corrupt("a table that ends in the middle")
    return huffman_table(weights), end


def _weights(table: Table, stream: Backward) -> list[int]:
    """Two states take turns; the last symbol is the other state's when the stream is used up."""
    states = [stream.read(table.log), stream.read(table.log)]
    weights: list[int] = []
    turn = 0
    while len(weights) < 256:
        state = states[turn]
        weights.append(table.symbols[state])
        states[turn] = table.bases[state] + stream.read(table.bits[state])
        turn = 1 - turn
        if stream.left < 0:
            weights.append(table.symbols[states[turn]])
            return weights
    raise Corrupt("more weights than there are letters")


def huffman_table(weights: list[int]) -> tuple[int, bytes, bytes]:
    """Log, and by the next `log` bits the letter and how many of them are its code. The last weight is what is left."""
    total = sum(1 << weight - 1 for weight in weights if weight)
    log = total.bit_length()
    rest = (1 << log) - total
    if not total or log > _MAX_HUFFMAN_BITS or rest & rest - 1 or len(weights) > 255:
        raise Corrupt("weights that make no code")
    weights = [*weights, rest.bit_length()]
    if max(weights) > log:
        raise Corrupt("weights that make no code")
    order = sorted((weight, letter) for letter, weight in enumerate(weights) if weight)
    letters = b"".join(bytes([letter]) * (1 << weight - 1) for weight, letter in order)
    lengths = b"".join(bytes([log + 1 - weight]) * (1 << weight - 1) for weight, _ in order)
    return log, letters, lengths


def running(start: int, bits: list[int]) -> list[int]:
    """The first value of each code that has that many bits more."""
    return list(accumulate((1 << count for count in bits), initial=start))[:-1]
