"""Judges what the pickle machine reaches and calls: the arguments where the callable is only sometimes safe.

Every technique is judged when it is reached, whether or not its result is used: by then it would have been run.
"""

from collections.abc import Callable
from typing import Any

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.policy import Standing, decide_global
from vallum.models.scan.pickles.values import OPAQUE, Global, Made, Persistent, Span, render

__all__ = ["Judge"]

_MAX_ARGUMENTS = 64
_MAX_STRANGE = 100
_SPECIAL = frozenset({"__class__", "__setstate__", "__reduce__", "__reduce_ex__", "__getattr__", "__del__", "__call__"})

Report = Callable[[Verdict, str, int, str], None]
ReadArray = Callable[[Made, int], int]


class Judge:
    """An `Observer`. One finding for each name and way of use."""

    def __init__(self, report: Report, read_array: ReadArray | None = None) -> None:
        self._report = report
        self._read_array = read_array
        self._said: set[tuple[str, str]] = set()
        self._uncalled: dict[str, tuple[str, int]] = {}  # conditional ones, of which no call was seen
        self.calls = 0
        self.blocks = 0
        self.capable = 0
        self._strange = 0
        self.findings = 0
        self.nested: list[Span | bytes] = []  # bytes that an allowed callable loads

    def _say(self, verdict: Verdict, technique: str, position: int, what: str, explanation: str) -> None:
        if (what, explanation) in self._said or len(self._said) > 1_000:
            return
        self._said.add((what, explanation))
        self.findings += 1
        self.blocks += verdict is Verdict.BLOCK
        self._report(verdict, technique, position, f"{what[:200]}: {explanation}")

    def _refuse(self, position: int, what: str, why: str) -> None:
        self._say(Verdict.BLOCK, "pickle-dangerous-global", position, what, why)

    def _doubt(self, position: int, what: str, why: str) -> None:
        self._say(Verdict.REVIEW, "pickle-unknown-global", position, what, why)

    def reached(self, found: Global, position: int) -> bool:
        standing, reason = decide_global(found.module, found.name)
        if standing >= Standing.REFUSED:
            self.capable += standing is Standing.CAPABLE
            self._refuse(position, found.full, reason)
        elif standing in (Standing.UNKNOWN_CLASS, Standing.UNKNOWN_FUNCTION):
            self._doubt(position, found.full, reason)
        elif standing is Standing.CONDITIONAL:
            self._uncalled.setdefault(found.full, (found.name, position))
        return standing is Standing.CONDITIONAL

    def unnamed(self, position: int, what: str) -> None:
        self._refuse(position, what, "what it is cannot be known before it runs")

    def odd(self, position: int, reason: str) -> None:
        self._say(Verdict.REVIEW, "pickle-malformed", position, "the stream", reason)

    def called(self, callee: Any, arguments: Any, position: int, opcode: str) -> Any:
        self.calls += 1
        made = Made(callee, arguments)
        if isinstance(callee, Persistent) and isinstance(callee.pid, tuple) and callee.pid[:1] == ("module",):
            callee = (*callee.pid, None)[1]  # torch before 1.6 keeps a module's class with its source
        if not isinstance(callee, Global):
            self._strange += 1
            if self._strange > _MAX_STRANGE:
                return made  # said often enough; millions of them would take longer to tell than to read
            if isinstance(callee, Made) or callee is OPAQUE:
                self._refuse(position, f"{opcode} of {render(callee)}", "calls what another call returned")
            else:
                self.odd(position, f"{opcode} of {render(callee)}, which cannot be called")
            return made
        given = arguments if isinstance(arguments, tuple) else ()
        standing = decide_global(callee.module, callee.name).standing
        if standing is Standing.UNKNOWN_FUNCTION and opcode == "REDUCE":
            # NEWOBJ, INST and OBJ work with classes alone; REDUCE calls whatever it is given.
            self._refuse(position, callee.full, f"called with {render(given)}, and no policy knows what it does")
        if standing is Standing.CONDITIONAL:
            self._uncalled.pop(callee.full, None)
            return self._conditional(callee, arguments, position, made)
        for argument in given[:_MAX_ARGUMENTS]:
            if type(argument) is Global:
                self._passed_on(argument, callee, position)
        return made

    def _passed_on(self, argument: Global, callee: Global, position: int) -> None:
        """A function that is safe with some arguments, handed to something else that chooses them."""
        if decide_global(argument.module, argument.name).standing is Standing.CONDITIONAL and argument.full not in (
            "builtins.type",
            "collections.defaultdict",
        ):
            self._refuse(position, argument.full, f"handed to {callee.full}, which would call it with what it likes")

    def _conditional(self, callee: Global, arguments: Any, position: int, made: Made) -> Any:
        what = f"{callee.full}{render(arguments)}"
        if not isinstance(arguments, tuple):
            self._refuse(position, what, "its arguments are not known before it runs")
            return made
        match callee.name:
            case "getattr":
                return self._getattr(arguments, position, what)
            case "type":
                if len(arguments) == 1 and arguments[0] is None:
                    return made
                self._refuse(position, what, "makes a class while loading")
            case "_reconstructor":
                if not all(self._is_class(a) for a in arguments[:2]):
                    self._refuse(position, what, "rebuilds what is not a class that is known")
            case "encode":
                if not (len(arguments) == 2 and isinstance(arguments[0], str | Span) and _plain_codec(arguments[1])):
                    self._refuse(position, what, "a codec other than that of bytes in old pickles")
                elif isinstance(arguments[0], str) and arguments[0].isascii():
                    return arguments[0].encode()
            case "partial":
                return self._partial(arguments, position, what)
            case "defaultdict":
                for argument in arguments[:1]:
                    if argument is not None and not self._is_class(argument):
                        self._doubt(position, what, "a factory that no policy knows, called when a key is missing")
            case "_load_from_bytes":
                for argument in arguments[:_MAX_ARGUMENTS]:
                    if isinstance(argument, Span | bytes):
                        self.nested.append(argument)
                    else:
                        self._refuse(position, what, "loads a pickle that is not known before it runs")
            case _:
                self._rebuilt(arguments, position)
        return made

    def _getattr(self, arguments: tuple[Any, ...], position: int, what: str) -> Any:
        target, name = (*arguments, None, None)[:2]
        if not isinstance(name, str):
            self._refuse(position, what, "the attribute is not known before it runs")
        elif isinstance(target, Global):
            # The same thing as a dotted name, and judged as that.
            found = Global(target.module, f"{target.name}.{name}")
            self.reached(found, position)
            return found
        elif name.startswith("__"):
            self._refuse(position, what, "a special attribute, from which everything else is reached")
        else:
            self._doubt(position, what, "a method of an object, for something else to call")
        return Made(Global("builtins", "getattr"), arguments)

    def _partial(self, arguments: tuple[Any, ...], position: int, what: str) -> Any:
        if arguments and isinstance(arguments[0], Global):
            standing = decide_global(arguments[0].module, arguments[0].name).standing
            if standing is not Standing.ALLOWED and arguments[0].full != "functools.partial":
                self._refuse(position, what, "binds arguments to a function that no policy allows")
        else:
            self._refuse(position, what, "binds arguments to what is not known before it runs")
        return Made(Global("functools", "partial"), arguments)

    def _rebuilt(self, arguments: tuple[Any, ...], position: int) -> None:
        """torch's `_rebuild_from_type_v2(function, type, arguments, state)` calls the first with the third."""
        if len(arguments) >= 3 and isinstance(arguments[0], Global):
            self.called(arguments[0], arguments[2], position, "REDUCE")
        else:
            self._refuse(position, render(arguments), "rebuilds by what is not known before it runs")

    def _is_class(self, value: Any) -> bool:
        if not isinstance(value, Global):
            return False
        standing, _ = decide_global(value.module, value.name)
        return standing in (Standing.ALLOWED, Standing.UNKNOWN_CLASS) or value.full in (
            "collections.defaultdict",
            "builtins.type",
        )

    def built(self, target: Any, state: Any, position: int, after: int) -> int:
        if isinstance(target, Global):
            self._refuse(
                position, f"BUILD on {target.full}", "changes a class, function or module for the whole process"
            )
            return after
        halves = state if isinstance(state, tuple) else (state,)
        for half in halves[:2]:
            if isinstance(half, dict):
                for key in _SPECIAL & half.keys():
                    self._doubt(position, f"{render(target)} with {key}", "a state that changes how the object behaves")
                if isinstance(half.get("_parse_arg_template"), str | Span):
                    # scipy's distributions hand it to `exec` when their state is set.
                    self._refuse(position, f"{render(target)} with _parse_arg_template", "source that is executed")
        if self._read_array and isinstance(target, Made) and isinstance(target.callee, Global):
            wrapped = target if target.callee.name in ("NumpyArrayWrapper", "_reconstructor") else None
            if wrapped and isinstance(state, dict) and "shape" in state and "dtype" in state and "subclass" in state:
                target.state = state
                return self._read_array(target, after)
        return after

    def finish(self) -> None:
        """After the last opcode: what is only safe with some arguments must have been called in plain sight."""
        for full, (_, position) in self._uncalled.items():
            if full not in ("builtins.type", "collections.defaultdict", "builtins.getattr"):
                self._doubt(position, full, "kept for something else to call, with arguments that are not known")
            elif full == "builtins.getattr":
                self._refuse(position, full, "kept for something else to call, with arguments that are not known")


def _plain_codec(name: Any) -> bool:
    return isinstance(name, str) and name.lower() in ("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii")
