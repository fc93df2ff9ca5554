"""Judges what the pickle machine reaches and calls: the arguments where the callable is only sometimes safe.

Every technique is judged when it is reached, whether or not its result is used: by then it would have been run.
"""

import re
from collections.abc import Callable
from typing import Any

from vallum.models.scan.model import Verdict
from vallum.models.scan.pickles.chance import name_bits
from vallum.models.scan.pickles.distributions import (
    TEMPLATE_KEY,
    is_distribution,
    is_plain_method,
    is_plain_state,
    is_plain_template,
)
from vallum.models.scan.pickles.libraries import CURATED
from vallum.models.scan.pickles.policy import Standing, decide_global
from vallum.models.scan.pickles.values import OPAQUE, Global, Made, Persistent, Span, render

__all__ = ["MAX_ENCODED", "Judge"]

_MAX_ARGUMENTS = 64
_MAX_TOLD = 4096
# What no plain word has: a path or address, what a shell or an interpreter reads, a file of code.
_TELLS = re.compile(r"[/\\;|&`$(=<>]|\s|\.(?:py|so|dll|exe|sh|pkl|pickle)\Z|\A~")
_OPENS = frozenset(("xgboost", "lightgbm", "catboost"))  # classes of theirs that take a file's name for a model or data
_MAX_STRANGE = 100
_MOST_ITEMS = 1_000_000
_SIZED = frozenset(("bytes", "bytearray", "pow"))
_RANGES = frozenset(("range", "xrange", "repeat"))
_COUNTED = frozenset(("list", "tuple", "set", "frozenset", "sum", "max", "min", "sorted", "bytes", "bytearray", "any"))
MAX_ENCODED = 50_000
_SPECIAL = frozenset({"__class__", "__setstate__", "__reduce__", "__reduce_ex__", "__getattr__", "__del__", "__call__"})
# Made empty, and then given their state: never from a function, nor with settings that act while they are made.
_STATES = frozenset(
    (
        "numpy.vectorize",
        "numpy.lib.function_base.vectorize",
        "transformers.training_args.TrainingArguments",
        "transformers.training_args_seq2seq.Seq2SeqTrainingArguments",
        "transformers.trainer_pt_utils.AcceleratorConfig",
        "sentence_transformers.training_args.SentenceTransformerTrainingArguments",
        "trl.trainer.sft_config.SFTConfig",
        "trl.trainer.dpo_config.DPOConfig",
        "trl.trainer.reward_config.RewardConfig",
        "trl.trainer.grpo_config.GRPOConfig",
        "accelerate.state.PartialState",
    )
)
_GETATTR, _PARTIAL = Global("builtins", "getattr"), Global("functools", "partial")

Report = Callable[[Verdict, str, int, str], None]
ReadArray = Callable[[Made, int], int]


class Judge:
    """An `Observer`. One finding for each name and way of use. `data` is the input, with the long strings in it."""

    def __init__(self, report: Report, read_array: ReadArray | None = None, data: bytes | memoryview = b"") -> None:
        self._report = report
        self._data = data
        self._read_array = read_array
        self._said: set[tuple[str, str]] = set()
        self._uncalled: dict[str, tuple[str, int]] = {}  # conditional ones, of which no call was seen
        self.calls = 0
        self.blocks = 0
        self.capable = 0
        self.name_bits = 0.0  # of the name that is the least likely by chance
        self._strange = 0
        self.findings = 0
        self.encoded: list[Span | str] = []  # texts that stand for bytes, as pickles of Python 2 have them
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
        self.name_bits = max(self.name_bits, name_bits(found.module, found.name))
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
        made_by_new = _made_by_new(callee, arguments)
        if made_by_new is not None:
            return self.called(*made_by_new, position, "NEWOBJ_EX")
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
        # NEWOBJ and NEWOBJ_EX work with classes alone; the others call whatever they are given. Of a library that is
        # known well a class that is written like a function has its own place in the policy.
        calls = opcode not in ("NEWOBJ", "NEWOBJ_EX")
        if standing is Standing.UNKNOWN_FUNCTION and (calls or callee.module.partition(".")[0] in CURATED):
            self._refuse(position, callee.full, f"called with {render(given)}, and no policy knows what it does")
        if standing is Standing.CONDITIONAL:
            self._uncalled.pop(callee.full, None)
            return self._conditional(callee, arguments, position, made)
        if _is_vast(callee, given):
            self._refuse(position, f"{callee.full}{render(given)}", "as much memory or time as a number says")
        if calls and callee.full in _STATES:
            self._refuse(position, callee.full, f"called with {render(given)}, where a pickler sets its state")
        for argument in given[:_MAX_ARGUMENTS]:
            if type(argument) is Global:
                self._passed_on(argument, callee, position)
        if calls and standing is Standing.UNKNOWN_CLASS:
            self._told(callee, given, position)
        elif calls and callee.module.partition(".")[0] in _OPENS and any(type(a) in (str, Span) for a in given):
            self._refuse(position, f"{callee.full}{render(given)}", "opens the file that it is given while it is made")
        return made

    def _told(self, callee: Global, given: tuple[Any, ...], position: int) -> None:
        """A class that nothing knows, made with what only something that acts needs. Objects are saved as their state;
        of those that are saved as their arguments (enumerations, devices, types) it is a plain word."""
        for argument in given[:_MAX_ARGUMENTS]:
            for part in argument[:_MAX_ARGUMENTS] if isinstance(argument, list | tuple) else (argument,):
                if type(part) is str and len(part) < _MAX_TOLD and _TELLS.search(part):
                    text = "a class that no policy covers, made with a path, an address, a command or code"
                    self._refuse(position, f"{callee.full}{render(given)}", text)
                    return

    def _passed_on(self, argument: Global, callee: Global, position: int) -> None:
        """A function that is safe with some arguments or unknown, handed to something else that chooses them."""
        standing = decide_global(argument.module, argument.name).standing
        handed = argument.full not in ("builtins.type", "collections.defaultdict")
        if standing is Standing.UNKNOWN_FUNCTION or (standing is Standing.CONDITIONAL and handed):
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
                else:
                    if len(self.encoded) < MAX_ENCODED:
                        self.encoded.append(arguments[0])
                    if isinstance(arguments[0], str) and arguments[0].isascii():
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
        elif name == "__new__" and self._is_plain_class(target):
            return Made(_GETATTR, arguments)  # nothing but a class's own way to make one, and no call of it yet
        elif isinstance(target, Global):
            # The same thing as a dotted name, and judged as that.
            found = Global(target.module, f"{target.name}.{name}")
            self.reached(found, position)
            return found
        elif name.startswith("__"):
            self._refuse(position, what, "a special attribute, from which everything else is reached")
        elif not (_is_made_distribution(target) and is_plain_method(name)):
            self._doubt(position, what, "a method of an object, for something else to call")
        return Made(_GETATTR, arguments)

    def _partial(self, arguments: tuple[Any, ...], position: int, what: str) -> Any:
        if arguments and isinstance(arguments[0], Global):
            standing = decide_global(arguments[0].module, arguments[0].name).standing
            if standing is not Standing.ALLOWED and arguments[0].full != "functools.partial":
                self._refuse(position, what, "binds arguments to a function that no policy allows")
        elif not (len(arguments) == 1 and _is_new(arguments[0])):
            self._refuse(position, what, "binds arguments to what is not known before it runs")
        return Made(_PARTIAL, arguments)

    def _rebuilt(self, arguments: tuple[Any, ...], position: int) -> None:
        """torch's `_rebuild_from_type_v2(function, type, arguments, state)` calls the first with the third."""
        if len(arguments) >= 3 and isinstance(arguments[0], Global):
            self.called(arguments[0], arguments[2], position, "REDUCE")
        else:
            self._refuse(position, render(arguments), "rebuilds by what is not known before it runs")

    def _is_plain_class(self, value: Any) -> bool:
        allowed = (Standing.ALLOWED, Standing.UNKNOWN_CLASS)
        return isinstance(value, Global) and decide_global(value.module, value.name).standing in allowed

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
                if TEMPLATE_KEY in half and not is_plain_template(half[TEMPLATE_KEY], self._data):
                    # scipy's distributions hand it to `exec` when their state is set.
                    self._refuse(position, f"{render(target)} with {TEMPLATE_KEY}", "source that is executed")
        made = target.callee if isinstance(target, Made) else None
        if isinstance(made, Global) and is_distribution(made.full) and not is_plain_state(state, self._data):
            self._refuse(position, render(target), "a distribution whose state may hold source that is executed")
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


def _is_made_distribution(value: Any) -> bool:
    return isinstance(value, Made) and isinstance(value.callee, Global) and is_distribution(value.callee.full)


def _is_vast(callee: Global, given: tuple[Any, ...]) -> bool:
    """Made with a number, it takes as much memory or time as that says."""
    if callee.module not in ("builtins", "__builtin__"):
        return False
    if callee.name in _COUNTED:
        for one in given:
            name = one.callee.name if isinstance(one, Made) and isinstance(one.callee, Global) else ""
            if name == "count" or (name == "repeat" and len(one.arguments) < 2):
                return True
            if name in _RANGES and any(_is_long(number) for number in one.arguments):
                return True
    return callee.name in _SIZED and any(_is_long(number) for number in given)


def _is_long(value: Any) -> bool:
    return type(value) is int and abs(value) > _MOST_ITEMS


def _is_new(value: Any) -> bool:
    return isinstance(value, Made) and value.callee is _GETATTR and value.arguments[1:] == ("__new__",)


def _made_by_new(callee: Any, arguments: Any) -> tuple[Global, tuple[Any, ...]] | None:
    """Class and arguments of `partial(C.__new__, C, ...)()`, as pickles below protocol 4 write NEWOBJ_EX.

    The state of a `partial` says what it calls, which has to be the same `__new__`; a class may inherit it.
    """
    if not (isinstance(callee, Made) and callee.callee is _PARTIAL and arguments == ()):
        return None
    new, state = callee.arguments[:1], callee.state
    if not (new and _is_new(new[0]) and isinstance(state, tuple) and len(state) == 4 and state[0] is new[0]):
        return None
    given, named = state[1], state[2]
    if not (isinstance(given, tuple) and given and isinstance(given[0], Global) and isinstance(named, dict)):
        return None
    return given[0], (*given[1:], *named.values())


def _plain_codec(name: Any) -> bool:
    return isinstance(name, str) and name.lower() in ("latin1", "latin-1", "iso-8859-1", "utf-8", "utf8", "ascii")
