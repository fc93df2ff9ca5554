"""One model's process, from this side: started, asked one batch at a time, and killed when it is late or says nonsense.

The process may have been taken over by what it loaded, so nothing it says is believed beyond what was asked: sizes are
bounded before anything is kept, and an answer that does not fit its configuration is no answer.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path
from typing import IO, cast

import msgspec

from vallum.models.runtime.errors import ModelFailed, ModelTimeout, ModelUnavailable
from vallum.models.runtime.last_words import LastWords, how_it_ended
from vallum.models.runtime.model import ServingConfiguration
from vallum.models.runtime.sandbox import NoSandbox
from vallum.models.runtime.wire import (
    HEAD,
    ITEM_SIZES,
    Answer,
    Ask,
    Failed,
    FromModel,
    Load,
    Ready,
    Tensor,
    decode_from_model,
    frame,
)

__all__ = ["ModelProcess", "ProcessDied", "RawOutput"]

_MAX_ANSWER_BYTES = 64 << 20
_MAX_DIMENSIONS = 8


class ProcessDied(ModelFailed):
    """It ended, or had to be ended, while it was asked."""


class RawOutput(msgspec.Struct, frozen=True):
    """One output of a batch: its shape, whose first dimension counts rows, and its numbers or its texts."""

    shape: tuple[int, ...]
    numbers: memoryview
    texts: list[str]


class ModelProcess:
    """For one event loop. Ask one thing at a time."""

    def __init__(
        self, configuration: ServingConfiguration, process: "subprocess.Popen[bytes]", frames: "_Frames",
        words: LastWords,
    ) -> None:  # fmt: skip
        self._configuration = configuration
        self._process = process
        self._frames = frames
        self._words = words
        self.ready: Ready | None = None
        self.model_microseconds = 0  # of processor time, the model's own, since the start

    @classmethod
    async def start(
        cls, configuration: ServingConfiguration, folder: Path, *, sandboxed: bool = True
    ) -> "ModelProcess":
        """Loaded from `folder`, which it needs no more afterwards.

        Raises NoSandbox where it could not be shut in, ModelUnavailable where it could not be loaded: for the
        operator, with the process's own last words, and never with a request's.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            process = _spawn(theirs.fileno(), configuration.limits.threads)
        finally:
            theirs.close()
        words = LastWords()
        try:
            await loop.connect_read_pipe(lambda: words, cast(IO[bytes], process.stderr))
            _, frames = await loop.create_connection(_Frames, sock=ours)
        except BaseException:
            ours.close()
            process.kill()
            process.wait()
            raise
        model = cls(configuration, process, frames, words)
        seconds = configuration.limits.load_seconds
        try:
            said, _ = await model._exchange(frame(Load(configuration, str(folder), os.getpid(), sandboxed)), seconds)
        except ProcessDied as e:
            raise ModelUnavailable(f"the model could not be loaded: {e}") from e
        except ModelTimeout as e:
            raise ModelUnavailable(f"the model was not loaded within limits.load_seconds, {seconds:g}") from e
        except BaseException:
            model.kill()
            raise
        match said:
            case Ready():
                words.stop()
                model.ready = said
                return model
            case Failed(what="sandbox"):
                model.kill()
                raise NoSandbox(said.why)
            case Failed():
                model.kill()
                raise ModelUnavailable(f"the model could not be loaded: {said.why}{_hint(said.why, configuration)}")
            case _:
                model.kill()
                raise ModelUnavailable("the model's process does not keep to its protocol")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return not self._frames.closed

    async def ask(self, tensors: list[Tensor], body: bytes, rows: int) -> dict[str, RawOutput]:
        """Every declared output. Raises ModelFailed where the model could not, ModelTimeout, and ProcessDied."""
        said, numbers = await self._exchange(frame(Ask(tensors), body), self._configuration.timeout_seconds)
        if isinstance(said, Failed) and said.what == "ask":
            raise ModelFailed(said.why)
        if not isinstance(said, Answer):
            self.kill()
            raise ProcessDied("the model's process does not keep to its protocol")
        self.model_microseconds += said.microseconds
        return _held(self._configuration, said.tensors, numbers, rows)

    def kill(self) -> None:
        """At once; safe to call again."""
        self._frames.close()
        self._words.stop()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)

    async def _exchange(self, what: bytes, seconds: float) -> tuple[FromModel, memoryview]:
        waiting = self._frames.send(what)
        try:
            async with asyncio.timeout(seconds):
                header, body = await waiting
        except TimeoutError:
            self.kill()
            raise ModelTimeout(f"the model did not answer within {seconds:g} seconds, and was stopped") from None
        except ConnectionError as e:
            self._frames.close()
            how = await how_it_ended(self._process, self._words)
            self.kill()
            raise ProcessDied(f"the model's process {how}") from e
        except asyncio.CancelledError:
            self.kill()  # what it would say belongs to nobody
            raise
        try:
            return decode_from_model(header), body
        except msgspec.MsgspecError as e:
            self.kill()
            raise ProcessDied("the model's process does not keep to its protocol") from e


def _hint(why: str, configuration: ServingConfiguration) -> str:
    """Libraries say it in their own ways when memory ends."""
    if any(sign in why for sign in ("MemoryError", "bad_alloc", "allocate", "failed to map segment")):
        return f" (limits.memory_mebibytes is {configuration.limits.memory_mebibytes})"
    return ""


def _spawn(fd: int, threads: int) -> "subprocess.Popen[bytes]":
    """By the thread of the event loop: the kernel ends a child when the *thread* that made it ends."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    # -I: nothing of the folder it is started in, nor of anybody's environment, is imported.
    return subprocess.Popen(  # noqa: S603  this interpreter, and a number
        [sys.executable, "-I", "-m", "vallum.models.runtime.child", str(fd)],
        pass_fds=[fd], cwd="/", env=dict.fromkeys(names, str(threads)) | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def _held(
    configuration: ServingConfiguration, tensors: Sequence[Tensor], numbers: memoryview, rows: int
) -> dict[str, RawOutput]:
    """The outputs, where they are what the configuration says. Raises ModelFailed."""
    found: dict[str, RawOutput] = {}
    at = 0
    for output, tensor in zip(configuration.outputs, tensors, strict=False):
        shape, size = tensor.shape, tensor.size
        if tensor.name != output.name or not 1 <= len(shape) <= _MAX_DIMENSIONS or shape[0] != rows or min(shape) < 0:
            raise ModelFailed(f"the output {output.name} does not have one row for each that was asked")
        if output.datatype == "BYTES":
            if tensor.texts is None or len(tensor.texts) != prod(shape):
                raise ModelFailed(f"the output {output.name} holds no texts")
            found[output.name] = RawOutput(shape, memoryview(b""), tensor.texts)
            continue
        if size != prod(shape) * ITEM_SIZES[output.datatype] or at + size > len(numbers):
            raise ModelFailed(f"the output {output.name} is not as long as its shape says")
        found[output.name] = RawOutput(shape, numbers[at : at + size], [])
        at += size
    if len(found) != len(configuration.outputs) or at != len(numbers):
        raise ModelFailed("the model's outputs are not those that its configuration declares")
    return found


class _Frames(asyncio.Protocol):
    """One question, one frame back."""

    def __init__(self) -> None:
        self.closed = False
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[tuple[bytes, memoryview]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's

    def send(self, what: bytes) -> "asyncio.Future[tuple[bytes, memoryview]]":
        self._waiting = asyncio.get_running_loop().create_future()
        if self.closed or self._transport is None:
            self._waiting.set_exception(ConnectionError("closed"))
        else:
            self._transport.write(what)
        return self._waiting

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < HEAD.size:
            return
        header_size, body_size = HEAD.unpack_from(self._buffer)
        whole = HEAD.size + header_size + body_size
        nobody_waits = self._waiting is None or self._waiting.done()
        if nobody_waits or header_size + body_size > _MAX_ANSWER_BYTES or len(self._buffer) > whole:
            self.close()  # it speaks unasked, or more than anybody can want
        elif len(self._buffer) == whole and self._waiting is not None:
            frame, self._buffer = bytes(self._buffer), bytearray()
            body = memoryview(frame)[HEAD.size + header_size :]
            self._waiting.set_result((frame[HEAD.size : HEAD.size + header_size], body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(ConnectionError("closed"))

    def close(self) -> None:
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
