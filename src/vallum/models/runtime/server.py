"""One deployed model: its process, the requests that wait for it, and what happens when the process dies.

What waits together is asked together, up to the configured number of rows. A batch that fails is asked again one
request at a time, so that an input that kills the model takes nobody else's answer with it. A process that died is
started again from files that are verified again, after a pause that doubles; until then requests are refused at once.
"""

import asyncio
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from time import monotonic
from typing import Any

import msgspec

from vallum.kernel.errors import Invalid, VallumError
from vallum.models.runtime.errors import ModelBusy, ModelFailed, ModelLoading, ModelTimeout, ModelUnavailable
from vallum.models.runtime.extraction import Baseline
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.process import ModelProcess, RawOutput
from vallum.models.runtime.tensors import Inputs, Packed
from vallum.models.runtime.wire import Tensor

__all__ = ["WORK_PREFIX", "ModelServer", "Result"]

WORK_PREFIX = "vallum-model-"  # and the process that made it

_log = logging.getLogger("vallum.models")

_FIRST_PAUSE_SECONDS, _MAX_PAUSE_SECONDS = 0.5, 30.0
_WORTH_WAITING_SECONDS = 1.0  # for a process to be started again; a longer pause is said at once
_STEADY_SECONDS = 30.0  # a process that lived so long did not die of being started
_MAX_REFERENCE_BYTES = 64 << 20
_MAX_TROUBLE_CHARS = 1_000


@dataclass(frozen=True, slots=True)
class Result:
    """A request's rows of every output: they begin at `first` of the batch's."""

    outputs: dict[str, RawOutput]
    first: int


@dataclass(slots=True, eq=False)
class _Waiting:
    inputs: Inputs
    signature: tuple[tuple[int, ...], ...]
    answer: "asyncio.Future[Result]"
    alone: bool = False


class ModelServer:
    """For one event loop."""

    def __init__(
        self, name: str, configuration: ServingConfiguration, checkout: Callable[[Path], None], work: Path | None,
        *, sandboxed: bool = True, tell: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """`checkout` writes the model's verified files into an empty folder, which is made below `work`. `tell` is
        called when `trouble` is another one."""
        self.configuration = configuration
        self.baseline: Baseline | None = None
        self.trouble = ""  # why it is not loaded, for its operator; empty once it is
        self._tell = tell
        self._name = name
        self._checkout = checkout
        self._work = work
        self._sandboxed = sandboxed
        self._batches = all(tensor.shape[0] == -1 for tensor in configuration.inputs)
        self._process: ModelProcess | None = None
        self._started_at = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._queue: deque[_Waiting] = deque()
        self._asking: list[_Waiting] = []  # out of the queue, and not answered yet
        self._awake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def is_ready(self) -> bool:
        return self._process is not None and self._process.is_alive

    @property
    def process(self) -> ModelProcess | None:
        return self._process

    def start(self) -> None:
        """Begin to load; safe to call again."""
        if self._pump is None and not self._closed:
            self._pump = asyncio.create_task(self._run())

    async def ask(self, inputs: Inputs) -> Result:
        """Raises ModelBusy, ModelLoading, ModelUnavailable, ModelTimeout, ModelFailed."""
        if not self.is_ready and self._not_before - monotonic() > _WORTH_WAITING_SECONDS:
            raise ModelUnavailable("the model is not loaded, and is tried again later: its operator must look")
        if self._closed:
            raise ModelLoading("the model is being replaced: try again")
        if len(self._queue) >= self.configuration.batching.max_waiting:
            raise ModelBusy("as many requests wait for this model as may: try again shortly")
        self.start()
        signature = tuple(tensor.shape[1:] for tensor in inputs.tensors.values())
        waiting = _Waiting(inputs, signature, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._awake.set()
        try:
            # Its turn comes after others': twice the time of one batch, then somebody else should be asked.
            async with asyncio.timeout(2 * self.configuration.timeout_seconds):
                return await waiting.answer
        except TimeoutError:
            if self.is_ready:
                raise ModelBusy("the model did not come to this request in time: try again shortly") from None
            raise ModelLoading("the model is still being loaded: try again shortly") from None

    async def close(self) -> None:
        self._closed = True
        if self._pump is not None:
            self._pump.cancel()
            with suppress(asyncio.CancelledError):
                await self._pump
        if self._process is not None:
            self._process.kill()
        self._fail([*self._asking, *self._queue], ModelLoading("the model is being replaced: try again"))
        self._queue.clear()

    # The one task that asks.

    async def _run(self) -> None:
        while True:
            try:
                await self._one_round()
            except Exception as e:  # noqa: BLE001  the outermost loop of a task that nobody would start again
                _log.error("the model %s: %s", self._name, type(e).__name__, exc_info=e)
                if self._process is not None:
                    self._process.kill()  # nobody knows what it was asked
                self._note_death()
                self._fail([*self._asking, *self._queue], ModelFailed(_CANNOT))
                self._queue.clear()
                self._asking = []

    async def _one_round(self) -> None:
        if not self.is_ready and not await self._started():
            await self._wait()
            return
        if not self._queue:
            await self._wait()
            return
        if self._batches and self.configuration.batching.max_wait_milliseconds:
            await self._gather()
        self._asking = self._next()
        if self._asking:
            await self._answer(self._asking)
        self._asking = []

    async def _wait(self) -> None:
        self._awake.clear()
        await self._awake.wait()

    async def _gather(self) -> None:
        """Wait for more, where the batch is not full yet."""
        batching = self.configuration.batching
        until = monotonic() + batching.max_wait_milliseconds / 1000
        while sum(one.inputs.rows for one in self._queue) < batching.max_rows and (left := until - monotonic()) > 0:
            self._awake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._awake.wait()
            except TimeoutError:
                return

    def _next(self) -> list[_Waiting]:
        """The first that somebody still waits for, and those after it that can be asked with it."""
        batch: list[_Waiting] = []
        rows = 0
        while self._queue:
            one = self._queue[0]
            if one.answer.done():
                self._queue.popleft()
                continue
            if batch:
                fits = rows + one.inputs.rows <= self.configuration.batching.max_rows
                if not (fits and self._batches and not one.alone and one.signature == batch[0].signature):
                    break
            batch.append(self._queue.popleft())
            rows += one.inputs.rows
            if one.alone:
                break
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        process = self._process
        if process is None:
            return
        rows = sum(one.inputs.rows for one in batch)
        tensors, body = _joined([one.inputs for one in batch])
        try:
            outputs = await process.ask(tensors, body, rows)
        except (ModelFailed, ModelTimeout) as e:
            _log.warning("the model %s: %s", self._name, e)
            if not process.is_alive:
                if monotonic() - self._started_at > _STEADY_SECONDS:
                    self._failures = 0
                self._note_death()
            if len(batch) == 1:
                told = ModelTimeout(str(e)) if isinstance(e, ModelTimeout) else ModelFailed(_CANNOT)
                self._fail(batch, told)
                return
            for one in reversed(batch):  # one of them may be to blame
                one.alone = True
                self._queue.appendleft(one)
            return
        first = 0
        for one in batch:
            if not one.answer.done():
                one.answer.set_result(Result(outputs, first))
            first += one.inputs.rows

    async def _started(self) -> bool:
        """The pause that is left, then a process. False where there is none, and nobody waits for it any more."""
        pause = self._not_before - monotonic()
        if pause > 0:
            await asyncio.sleep(pause)
        if self._process is not None:
            self._process.kill()
        try:
            self._process = await self._load()
        except (VallumError, OSError) as e:
            _log.error("the model %s cannot be served: %s", self._name, e)
            self._note_death()
            self._note_trouble(str(e) or type(e).__name__)
            self._fail(list(self._queue), ModelUnavailable("the model could not be loaded: its operator must look"))
            self._queue.clear()
            return False
        self._started_at = monotonic()
        self._note_trouble("")
        ready = self._process.ready
        if ready is not None and not ready.seccomp:
            _log.warning("the model %s runs WITHOUT a sandbox, as models.unsafe_no_sandbox says", self._name)
        return True

    async def _load(self) -> ModelProcess:
        """From files that are there only while it loads."""
        folder = Path(await asyncio.to_thread(mkdtemp, prefix=f"{WORK_PREFIX}{os.getpid()}-", dir=self._work))
        try:
            await asyncio.to_thread(self._take_files, folder)
            return await ModelProcess.start(self.configuration, folder, sandboxed=self._sandboxed)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _take_files(self, folder: Path) -> None:
        self._checkout(folder)
        settings = self.configuration.extraction
        if settings.mode != "off" and self.baseline is None:
            self.baseline = _baseline(folder / settings.reference, self.configuration)

    def _note_death(self) -> None:
        pause = min(_FIRST_PAUSE_SECONDS * 2**self._failures, _MAX_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 10)
        self._not_before = monotonic() + pause

    def _note_trouble(self, trouble: str) -> None:
        before, self.trouble = self.trouble, trouble[:_MAX_TROUBLE_CHARS]
        if before != self.trouble:
            self._tell()

    def _fail(self, waiting: list[_Waiting], error: VallumError) -> None:
        for one in waiting:
            if not one.answer.done():
                one.answer.set_exception(error)


_CANNOT = "the model could not answer this input: look at its types and ranges, or ask the model's owner"


def _joined(inputs: list[Inputs]) -> tuple[list[Tensor], bytes]:
    """Several requests as one: rows after rows, which in C order is bytes after bytes."""
    tensors: list[Tensor] = []
    pieces: list[bytes] = []
    for name, first in inputs[0].tensors.items():
        packed: list[Packed] = [one.tensors[name] for one in inputs]
        shape = (sum(one.shape[0] for one in packed), *first.shape[1:])
        if first.texts is not None:
            tensors.append(Tensor(name, shape, 0, [text for one in packed for text in one.texts or ()]))
            continue
        tensors.append(Tensor(name, shape, sum(len(one.numbers) for one in packed)))
        pieces += [one.numbers for one in packed]
    return tensors, pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _baseline(path: Path, configuration: ServingConfiguration) -> Baseline:
    """Raises Invalid."""
    try:
        if path.stat().st_size > _MAX_REFERENCE_BYTES:
            raise Invalid(f"extraction.reference: at most {_MAX_REFERENCE_BYTES >> 20} MiB")
        rows: Any = msgspec.json.decode(path.read_bytes(), type=list[list[float | None]])
    except OSError as e:
        raise Invalid("extraction.reference: there is no such file in the model's folder") from e
    except msgspec.DecodeError as e:
        raise Invalid(f"extraction.reference: a JSON list of rows of numbers ({str(e)[:100]})") from e
    # The same sample, the same bounds in every process: nothing here guards by being secret.
    return Baseline.learn(rows, configuration.extraction, Random(0))  # noqa: S311
