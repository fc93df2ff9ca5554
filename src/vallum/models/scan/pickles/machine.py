"""A pickle machine that runs nothing: stack, marks and memo like the real one, every opcode of protocols 0-5.

It follows the stream as `pickle.Unpickler` would and tells an `Observer` each global that would be imported, each call
with its arguments, and each state that would be set. Where the real machine would stop with an error, this one stops
too: what came before has been told already, because by then it would have been run.

Answers scanners that list names without knowing what is called with what (memo, DUP, names in pieces), that give up
on the first odd byte, or that a mere million of opcodes wears out. Time and memory are linear in the input: one step
for each opcode, long strings are kept by place, and contents of containers only as far as a judgement needs them.
Follows CPython's `Modules/_pickle.c` and the comments of `pickletools`.
"""

import codecs
import re
from collections.abc import Callable
from struct import Struct
from typing import Any, Protocol

from vallum.models.scan.pickles.values import OPAQUE, Global, Made, Persistent, Span

__all__ = ["OPCODES", "Broken", "Budget", "Exhausted", "Machine", "Observer"]

_SHORT = 256  # longer strings are kept by place: no attribute that means anything is longer
_KEPT_ITEMS = 4096  # of one list or dict: states and shapes are far shorter
_KEPT_CONTAINERS = 300_000  # as empty lists 20 MB
_KEPT_TUPLES = 3_000_000  # further ones are forgotten, and a call with a forgotten one is refused where it matters
_KEPT_NAMES = 10_000
_KEPT_STRINGS = 200_000  # long ones, by place, to look into afterwards
_KEPT_LINES_BYTES = 16 << 20
_MAX_NAME_BYTES = 1 << 16
_SMALLEST_NESTED = 16  # bytes; a pickle that calls anything is longer
_SMALLEST_CARRIED = 20  # of text: the same, encoded

_FRESH_NAME = 16  # what judging a name costs, in ordinary opcodes
_STRIDE = 4096  # opcodes between two looks at the budget
_NO_END = 1 << 62

_LINE = re.compile(rb"[^\n]*")
_U16, _I32, _U32, _U64, _F64 = Struct("<H"), Struct("<i"), Struct("<I"), Struct("<Q"), Struct(">d")
# Numbers in bulk, as lists of them are written: matched in C, because each in Python costs a tenth of a microsecond.
_ATOM_OPCODES = frozenset(b"KMJGN\x88\x89")
_ATOM = re.compile(rb"K.|M..|J....|G.{8}|[N\x88\x89]", re.DOTALL)
_ATOMS = re.compile(rb"(?:K.|M..|J....|G.{8}|[N\x88\x89]){65,}+", re.DOTALL)  # no shape has 65 dimensions


class Broken(Exception):
    """The real machine would raise here. `position` is that of the opcode."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position
        self.reason = reason


class Exhausted(Broken):
    """Not the input's error: the budget is used up, and what comes after `position` was not read."""


class Budget:
    """How much may still be read: `steps` opcodes, and as long as `go_on` says so. Shared by several machines.

    The first `sure` opcodes are read whatever `go_on` says: what an ordinary file comes to does not depend on how busy
    the machine is.
    """

    def __init__(self, steps: int = _NO_END, go_on: Callable[[], bool] = lambda: True, sure: int = 0) -> None:
        self.steps = steps
        self._sure = sure
        self._go_on = go_on

    def spend(self, steps: int) -> bool:
        """Whether there is more."""
        self.steps -= steps
        self._sure -= steps
        return self.steps > 0 and (self._sure > 0 or self._go_on())

    def hasten(self, steps: int) -> None:
        """An opcode that takes as long as that many: what is read whatever the time is the less."""
        self._sure -= steps


class Observer(Protocol):
    """Who judges. Positions are offsets in the input."""

    def reached(self, found: Global, position: int) -> bool:
        """Returns whether to tell it every time; a name that was judged for good is told once."""
        ...

    def called(self, callee: Any, arguments: Any, position: int, opcode: str) -> Any:
        """Returns the symbolic result."""
        ...

    def built(self, target: Any, state: Any, position: int, after: int) -> int:
        """Returns where the stream goes on: at `after`, unless the loader reads raw bytes there, as joblib does."""
        ...

    def unnamed(self, position: int, what: str) -> None:
        """A global whose name is no constant."""
        ...

    def odd(self, position: int, reason: str) -> None:
        """Not an error for every machine, but nothing that a pickler writes."""
        ...


class Machine:
    """One pickle. `run` returns the offset after its STOP and leaves the object in `result`. Raises Broken."""

    def __init__(
        self, data: bytes | memoryview, observer: Observer, start: int = 0, budget: Budget | None = None
    ) -> None:
        self._budget = budget or Budget()
        self._data = data
        self._observer = observer
        self._start = start
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: list[Any] = []  # as long as it fills in order, which it always does in a pickler's
        self._sparse: dict[int, Any] = {}
        self._containers = 0
        self._tuples = 0
        self._found: dict[tuple[str | None, str | None], Global] = {}
        self.result: Any = None
        self.persistent: list[Persistent] = []
        self.strings: list[tuple[int, int]] = []  # those that could be something nested
        self.lines: list[str] = []  # and those that are written as a line, with escapes
        self._lines_bytes = 0
        self.opcodes = 0  # that were read; runs of numbers count as one

    def run(self) -> int:
        """Raises Exhausted, too, when the budget ends before the pickle."""
        while True:
            end = self._stride()
            if end is not None:
                return end
            if not self._budget.spend(_STRIDE):
                raise Exhausted(self._start, "its machine has no more time or steps")

    def _stride(self) -> int | None:
        """Some thousand opcodes from `_start`. None when there is more, which starts at `_start` again."""
        position, step = self._start, 0
        data, size, stack, memo = self._data, len(self._data), self._stack, self._memo
        push, sparse, handlers, strings = stack.append, self._sparse, _HANDLERS, self.strings
        try:
            for step in range(_STRIDE):
                position += 1
                op = data[position - 1]
                # The commonest first: these are nearly all of a real pickle.
                if op == 0x94:  # MEMOIZE
                    if sparse:
                        self._put(len(memo) + len(sparse), stack[-1])
                    else:
                        memo.append(stack[-1])
                elif op == 0x8C:  # SHORT_BINUNICODE
                    end = position + 1 + data[position]
                    if end > size:
                        raise Broken(position - 1, "truncated in a string")
                    push(str(data[position + 1 : end], "utf-8", "surrogatepass"))
                    if end - position > _SMALLEST_CARRIED and len(strings) < _KEPT_STRINGS:
                        strings.append((position + 1, end))
                    position = end
                elif op == 0x4B:  # BININT1
                    push(data[position])
                    position += 1
                elif op == 0x68:  # BINGET
                    index = data[position]
                    push(memo[index] if index < len(memo) else sparse[index])
                    position += 1
                elif op == 0x71:  # BINPUT
                    index = data[position]
                    if index == len(memo) and not sparse:
                        memo.append(stack[-1])
                    else:
                        self._put(index, stack[-1])
                    position += 1
                elif op == 0x72:  # LONG_BINPUT
                    (index,) = _U32.unpack_from(data, position)
                    if index == len(memo) and not sparse:
                        memo.append(stack[-1])
                    else:
                        self._put(index, stack[-1])
                    position += 4
                elif op == 0x86:  # TUPLE2
                    last = stack.pop()
                    stack[-1] = (stack[-1], last)
                elif op == 0x4E:  # NONE
                    push(None)
                elif op == 0x47:  # BINFLOAT
                    push(OPAQUE)
                    position += 8
                elif op == 0x28:  # MARK
                    self._marks.append(len(stack))
                    bulk = _ATOMS.match(data, position) if data[position] in _ATOM_OPCODES else None
                    if bulk:
                        position = bulk.end()
                        stack.extend([OPAQUE] * len(_ATOM.findall(data, bulk.start(), position)))
                elif op == 0x2E:  # STOP
                    self.result = stack.pop()
                    self._budget.spend(step)
                    return position
                else:
                    handler = handlers[op]
                    if handler is None:
                        raise Broken(position - 1, f"no opcode is 0x{op:02x}")
                    position = handler(self, position)
            self._start = position
            return None
        except IndexError:
            reason = "truncated: it has no STOP" if position >= size else "takes from an empty stack"
            raise Broken(position - 1, reason) from None
        except KeyError:
            raise Broken(position - 1, "recalls from its memo what is not there") from None
        except Exception as e:  # struct.error, ValueError and what else a hostile argument provokes
            if isinstance(e, Broken | MemoryError | RecursionError):
                raise
            raise Broken(position - 1, f"an argument that cannot be read ({type(e).__name__})") from None
        finally:
            self.opcodes += step

    def fork(self, position: int, observer: Observer, budget: Budget) -> "Machine":
        """Another machine in the same state that goes on elsewhere, for a stream that two loaders read differently."""
        other = Machine(self._data, observer, position, budget)
        other._stack[:], other._marks[:], other._memo[:] = self._stack, self._marks, self._memo
        other._sparse.update(self._sparse)
        return other

    @property
    def forgot(self) -> bool:
        """Whether there were more long strings than are kept."""
        return len(self.strings) >= _KEPT_STRINGS or self._lines_bytes >= _KEPT_LINES_BYTES - (1 << 16)

    @property
    def size(self) -> int:
        """Entries of stack and memo, which is what `fork` costs."""
        return len(self._stack) + len(self._memo) + len(self._sparse)

    # What several opcodes share.

    def _put(self, index: int, value: Any) -> None:
        if index < len(self._memo):
            self._memo[index] = value
        elif index == len(self._memo) and not self._sparse:
            self._memo.append(value)
        else:
            self._sparse[index] = value

    def _get(self, index: int) -> Any:
        return self._memo[index] if 0 <= index < len(self._memo) else self._sparse[index]

    def _line(self, position: int) -> tuple[bytes, int]:
        if isinstance(self._data, bytes) and (end := self._data.find(b"\n", position)) >= 0:
            return self._data[position:end], end + 1
        match = _LINE.match(self._data, position)
        end = match.end() if match else position
        if end >= len(self._data):
            raise Broken(position - 1, "truncated in a line")
        return bytes(self._data[position:end]), end + 1

    def _take(self, position: int, size: int) -> int:
        end = position + size
        if size < 0 or end > len(self._data):
            raise Broken(position, "a length that goes past the end")
        return end

    def _string(self, start: int, size: int, text: bool) -> int:
        end = self._take(start, size)
        if size >= (_SMALLEST_CARRIED if text else _SMALLEST_NESTED) and len(self.strings) < _KEPT_STRINGS:
            self.strings.append((start, end))
        if size >= _SHORT:
            self._stack.append(Span(start, end, text))
        else:
            raw = bytes(self._data[start:end])
            self._stack.append(raw.decode("utf-8", "surrogatepass") if text else raw)
        return end

    def _since_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _push_tuple(self, fresh: tuple[Any, ...]) -> None:
        self._tuples += 1
        self._stack.append(fresh if self._tuples < _KEPT_TUPLES else OPAQUE)

    def _container(self, fresh: Any) -> None:
        self._containers += 1
        self._stack.append(fresh if self._containers < _KEPT_CONTAINERS else OPAQUE)

    def _name(self, value: Any) -> str | None:
        if type(value) is str:
            return value
        if isinstance(value, Span) and value.text and value.end - value.start < _MAX_NAME_BYTES:
            return str(self._data[value.start : value.end], "utf-8", "surrogatepass")
        return None

    def _find(self, module: Any, name: Any, position: int) -> None:
        names = self._name(module), self._name(name)
        if names[0] is None or names[1] is None:
            self._observer.unnamed(position, "a global whose name is made while loading")
            self._stack.append(OPAQUE)
            return
        known = self._found.get(names)
        if known is None:
            known = Global(names[0], names[1])
            self._budget.hasten(_FRESH_NAME)
            if not self._observer.reached(known, position) and len(self._found) < _KEPT_NAMES:
                self._found[names] = known
        self._stack.append(known)

    def _call(self, callee: Any, arguments: Any, position: int, opcode: str) -> None:
        self._stack.append(self._observer.called(callee, arguments, position, opcode))

    def _keep(self, target: Any, items: list[Any]) -> None:
        if type(target) is list:
            if len(target) < _KEPT_ITEMS:
                target.extend(items[:_KEPT_ITEMS])
        elif type(target) is dict:
            # Only strings: the hash of a tuple nested a million deep would be C recursion without an end.
            for key, value in zip(items[::2], items[1::2], strict=False):
                if type(key) is str and (len(target) < _SHORT or key[:2] == "__"):
                    target[key] = value

    # One method for each remaining opcode: given the position after the opcode, it returns that of the next.

    def _nothing(self, position: int) -> int:
        return position

    def _proto(self, position: int) -> int:
        if self._data[position] > 5:
            raise Broken(position - 1, f"protocol {self._data[position]} does not exist")
        return position + 1

    def _frame(self, position: int) -> int:
        (size,) = _U64.unpack_from(self._data, position)
        if position + 8 + size > len(self._data):
            # A stream that is read in pieces would already have run what came before; go on, to miss nothing.
            self._observer.odd(position - 1, "a frame that is longer than the input")
        return position + 8

    def _pop(self, position: int) -> int:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._stack.pop()
        return position

    def _dup(self, position: int) -> int:
        self._stack.append(self._stack[-1])
        return position

    def _pop_mark(self, position: int) -> int:
        self._since_mark()
        return position

    def _true(self, position: int) -> int:
        self._stack.append(True)
        return position

    def _false(self, position: int) -> int:
        self._stack.append(False)
        return position

    def _int_line(self, position: int) -> int:
        line, position = self._line(position)
        text = line.strip().removesuffix(b"L")
        # Long decimals are quadratic to read, and nothing needs their value.
        self._stack.append(int(text, 0 if text[:2].lower() == b"0x" else 10) if len(text) < 64 else OPAQUE)
        return position

    def _float_line(self, position: int) -> int:
        line, position = self._line(position)
        float(line[:64])
        self._stack.append(OPAQUE)
        return position

    def _binint(self, position: int) -> int:
        self._stack.append(_I32.unpack_from(self._data, position)[0])
        return position + 4

    def _binint2(self, position: int) -> int:
        self._stack.append(_U16.unpack_from(self._data, position)[0])
        return position + 2

    def _long(self, position: int, size: int) -> int:
        end = self._take(position, size)
        self._stack.append(int.from_bytes(self._data[position:end], "little", signed=True) if size <= 64 else OPAQUE)
        return end

    def _long1(self, position: int) -> int:
        return self._long(position + 1, self._data[position])

    def _long4(self, position: int) -> int:
        return self._long(position + 4, _I32.unpack_from(self._data, position)[0])

    def _string_line(self, position: int) -> int:
        line, position = self._line(position)
        line = line.strip()
        if len(line) < 2 or line[0] != line[-1] or line[0] not in b"\"'":
            raise Broken(position - 1, "a string without quotes")
        raw = codecs.escape_decode(line[1:-1])[0]  # undocumented; what pickle itself uses
        self._push_line(raw.decode("latin-1"))
        return position

    def _push_line(self, text: str) -> None:
        if len(text) >= _SMALLEST_NESTED and self._lines_bytes + len(text) < _KEPT_LINES_BYTES:
            self._lines_bytes += len(text)
            self.lines.append(text)
        self._stack.append(text)

    def _unicode_line(self, position: int) -> int:
        line, position = self._line(position)
        self._push_line(line.decode("raw-unicode-escape"))
        return position

    def _binstring(self, position: int) -> int:
        return self._old_string(position + 4, _I32.unpack_from(self._data, position)[0])

    def _short_binstring(self, position: int) -> int:
        return self._old_string(position + 1, self._data[position])

    def _old_string(self, start: int, size: int) -> int:
        # Python 2's: text or bytes, as the loader is told; text when nothing is said, and so good for a name.
        end = self._string(start, size, text=False)
        top = self._stack[-1]
        self._stack[-1] = Span(start, end, True) if isinstance(top, Span) else top.decode("latin-1")
        return end

    def _binunicode(self, position: int) -> int:
        return self._string(position + 4, _U32.unpack_from(self._data, position)[0], text=True)

    def _binunicode8(self, position: int) -> int:
        return self._string(position + 8, _U64.unpack_from(self._data, position)[0], text=True)

    def _short_binbytes(self, position: int) -> int:
        return self._string(position + 1, self._data[position], text=False)

    def _binbytes(self, position: int) -> int:
        return self._string(position + 4, _U32.unpack_from(self._data, position)[0], text=False)

    def _binbytes8(self, position: int) -> int:
        return self._string(position + 8, _U64.unpack_from(self._data, position)[0], text=False)

    def _opaque(self, position: int) -> int:
        self._stack.append(OPAQUE)
        return position

    def _empty_tuple(self, position: int) -> int:
        self._stack.append(())
        return position

    def _tuple(self, position: int) -> int:
        self._push_tuple(tuple(self._since_mark()))
        return position

    def _tuple1(self, position: int) -> int:
        self._push_tuple((self._stack.pop(),))
        return position

    def _tuple3(self, position: int) -> int:
        last, middle = self._stack.pop(), self._stack.pop()
        self._stack[-1] = (self._stack[-1], middle, last)
        return position

    def _empty_list(self, position: int) -> int:
        self._container([])
        return position

    def _empty_dict(self, position: int) -> int:
        self._container({})
        return position

    def _list(self, position: int) -> int:
        self._container(self._since_mark()[:_KEPT_ITEMS])
        return position

    def _dict(self, position: int) -> int:
        fresh: dict[str, Any] = {}
        self._keep(fresh, self._since_mark())
        self._container(fresh)
        return position

    def _frozenset(self, position: int) -> int:
        self._since_mark()
        self._stack.append(OPAQUE)
        return position

    def _append(self, position: int) -> int:
        item = self._stack.pop()
        self._keep(self._stack[-1], [item])
        return position

    def _appends(self, position: int) -> int:
        items = self._since_mark()
        self._keep(self._stack[-1], items)
        return position

    def _setitem(self, position: int) -> int:
        value, key = self._stack.pop(), self._stack.pop()
        if type(self._stack[-1]) is dict:
            self._keep(self._stack[-1], [key, value])
        return position

    def _setitems(self, position: int) -> int:
        items = self._since_mark()
        if type(self._stack[-1]) is dict:
            self._keep(self._stack[-1], items)
        return position

    def _get_line(self, position: int) -> int:
        line, position = self._line(position)
        self._stack.append(self._get(int(line[:32])))
        return position

    def _long_binget(self, position: int) -> int:
        self._stack.append(self._get(_U32.unpack_from(self._data, position)[0]))
        return position + 4

    def _put_line(self, position: int) -> int:
        line, position = self._line(position)
        self._put(int(line[:32]), self._stack[-1])
        return position

    def _global(self, position: int) -> int:
        start = position - 1
        module, position = self._line(position)
        name, position = self._line(position)
        self._find(module.decode("utf-8"), name.decode("utf-8"), start)
        return position

    def _stack_global(self, position: int) -> int:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(module, name, position - 1)
        return position

    def _reduce(self, position: int) -> int:
        arguments, callee = self._stack.pop(), self._stack.pop()
        self._call(callee, arguments, position - 1, "REDUCE")
        return position

    def _newobj(self, position: int) -> int:
        arguments, callee = self._stack.pop(), self._stack.pop()
        self._call(callee, arguments, position - 1, "NEWOBJ")
        return position

    def _newobj_ex(self, position: int) -> int:
        keywords, arguments, callee = self._stack.pop(), self._stack.pop(), self._stack.pop()
        if keywords and isinstance(keywords, dict) and isinstance(arguments, tuple):
            arguments = (*arguments, *keywords.values())
        self._call(callee, arguments, position - 1, "NEWOBJ_EX")
        return position

    def _inst(self, position: int) -> int:
        start = position - 1
        position = self._global(position)
        callee = self._stack.pop()
        self._call(callee, tuple(self._since_mark()), start, "INST")
        return position

    def _obj(self, position: int) -> int:
        callee, *arguments = self._since_mark()
        self._call(callee, tuple(arguments), position - 1, "OBJ")
        return position

    def _build(self, position: int) -> int:
        state = self._stack.pop()
        target = self._stack[-1]
        after = self._observer.built(target, state, position - 1, position)
        if isinstance(target, Made):
            target.state = state
        return after

    def _extension(self, position: int, size: int) -> int:
        self._take(position, size)
        self._observer.unnamed(position - 1, "a global by a number of copyreg's registry, which another place filled")
        self._stack.append(OPAQUE)
        return position + size

    def _ext1(self, position: int) -> int:
        return self._extension(position, 1)

    def _ext2(self, position: int) -> int:
        return self._extension(position, 2)

    def _ext4(self, position: int) -> int:
        return self._extension(position, 4)

    def _persid(self, position: int) -> int:
        line, position = self._line(position)
        self._stack.append(Persistent(line[:_SHORT].decode("latin-1")))
        return position

    def _binpersid(self, position: int) -> int:
        self._stack[-1] = found = Persistent(self._stack[-1])
        if len(self.persistent) < _KEPT_NAMES:
            self.persistent.append(found)
        return position


_Handler = Callable[[Machine, int], int]
_BY_OPCODE: dict[int, _Handler] = {
    0x80: Machine._proto, 0x95: Machine._frame, 0x30: Machine._pop, 0x31: Machine._pop_mark, 0x32: Machine._dup,
    0x88: Machine._true, 0x89: Machine._false,
    0x49: Machine._int_line, 0x4C: Machine._int_line, 0x46: Machine._float_line,
    0x4A: Machine._binint, 0x4D: Machine._binint2, 0x8A: Machine._long1, 0x8B: Machine._long4,
    0x53: Machine._string_line, 0x56: Machine._unicode_line, 0x54: Machine._binstring, 0x55: Machine._short_binstring,
    0x58: Machine._binunicode, 0x8D: Machine._binunicode8,
    0x42: Machine._binbytes, 0x43: Machine._short_binbytes, 0x8E: Machine._binbytes8, 0x96: Machine._binbytes8,
    0x97: Machine._opaque, 0x98: Machine._nothing,
    0x29: Machine._empty_tuple, 0x74: Machine._tuple, 0x85: Machine._tuple1,
    0x87: Machine._tuple3, 0x5D: Machine._empty_list, 0x6C: Machine._list, 0x7D: Machine._empty_dict,
    0x64: Machine._dict, 0x8F: Machine._opaque, 0x90: Machine._appends, 0x91: Machine._frozenset,
    0x61: Machine._append, 0x65: Machine._appends, 0x73: Machine._setitem, 0x75: Machine._setitems,
    0x67: Machine._get_line, 0x6A: Machine._long_binget, 0x70: Machine._put_line,
    0x63: Machine._global, 0x93: Machine._stack_global, 0x52: Machine._reduce, 0x81: Machine._newobj,
    0x92: Machine._newobj_ex, 0x69: Machine._inst, 0x6F: Machine._obj, 0x62: Machine._build,
    0x82: Machine._ext1, 0x83: Machine._ext2, 0x84: Machine._ext4, 0x50: Machine._persid, 0x51: Machine._binpersid,
}  # fmt: skip
OPCODES = frozenset((*_BY_OPCODE, *b"\x94\x8cK\x68q\x72\x86NG(."))
_HANDLERS: tuple[_Handler | None, ...] = tuple(_BY_OPCODE.get(op) for op in range(256))
