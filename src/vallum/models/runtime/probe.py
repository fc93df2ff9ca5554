"""A classifier of images asked many times on one's own machine, in the process that serving shuts a model in.

The same walls as of a served model, and no way around them: where they do not stand, nothing is loaded. What the
process says is believed no more than there: a label for each image or scores of each label, finite, or no answer.
Blocking, for one thread, which stays alive as long as the probe (the kernel ends the process with it).
"""

import asyncio
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any

import msgspec

from vallum.kernel.errors import Invalid, Unavailable
from vallum.models.runtime.errors import ModelFailed, ModelTimeout, ModelUnavailable
from vallum.models.runtime.model import INTEGER_RANGES, InputTensor, OutputTensor, ServingConfiguration
from vallum.models.runtime.process import ModelProcess, RawOutput
from vallum.models.runtime.sandbox import NoSandbox
from vallum.models.runtime.undeclared import Layout, one_image
from vallum.models.runtime.wire import Ready, Tensor

__all__ = ["ImageProbe", "ProbeFailed", "label_output"]

_MAX_ROWS = 256  # asked about at once
_MAX_ELEMENTS = 1 << 20  # of those: what a network makes of them in between is many times as much
_ASK_SECONDS = 60.0
_DTYPES = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "|b1"}


class ProbeFailed(Invalid):
    """The model could not be asked, or answered nonsense: the message says what to change, and quotes no answer."""


class ImageProbe:
    """Open it as a context, then ask `labels`."""

    def __init__(
        self, configuration: ServingConfiguration, output: OutputTensor, folder: Path, layout: Layout,
        image: tuple[int, int, int], *, seconds: float,
    ) -> None:  # fmt: skip
        """`image` is (height, width, channels); `seconds` is how long everything may take, from opening it on."""
        chosen = msgspec.structs.replace(configuration, outputs=(output,), timeout_seconds=_ASK_SECONDS)
        self._configuration, self._input, self._output = chosen, chosen.inputs[0], output
        self._folder, self._layout, self._image = folder, layout, image
        self._seconds, self._ends = seconds, 0.0
        fixed = self._input.shape[0]
        values = image[0] * image[1] * image[2]
        self._rows = fixed if fixed > 0 else max(1, min(_MAX_ROWS, _MAX_ELEMENTS // values))
        self._is_fixed = fixed > 0
        self._runner = asyncio.Runner()
        self._process: ModelProcess | None = None
        self.asked = 0  # images, so far

    @property
    def walls(self) -> Ready | None:
        """What holds the process in, once it is there."""
        return self._process.ready if self._process is not None else None

    def __enter__(self) -> "ImageProbe":
        """Loads the model. Raises ProbeFailed."""
        self._ends = monotonic() + self._seconds
        self._runner.__enter__()
        try:
            self._process = self._runner.run(self._started())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None:
                self._process.kill()
                self._runner.run(asyncio.sleep(0))  # its pipes are closed by the loop
        finally:
            self._runner.close()

    def labels(self, images: Any) -> list[int | str]:
        """A label for each image of (images, height, width) or with channels behind: a whole number or a text.

        Raises ProbeFailed for images that the model does not take, and for whatever else is no answer.
        """
        given = _lying(images, self._layout, self._image)
        found: list[int | str] = []
        for begin in range(0, len(given), self._rows):
            found += self._labels(_as_declared(self._input, given[begin : begin + self._rows]))
        return found

    def _labels(self, batch: Any) -> list[int | str]:
        import numpy as np

        rows = len(batch)
        if self._is_fixed and rows < self._rows:  # the graph takes so many, and no fewer
            batch = np.concatenate([batch, np.repeat(batch[:1], self._rows - rows, axis=0)])
        body = np.ascontiguousarray(batch).tobytes()
        tensor = Tensor(self._input.name, batch.shape, len(body))
        try:
            raw = self._runner.run(self._answered(tensor, body, len(batch)))
        except (ModelFailed, ModelTimeout) as e:
            raise ProbeFailed(f"the model did not answer: {_plain(e)}") from e
        self.asked += rows
        return _read_labels(self._output, raw, len(batch))[:rows]

    async def _started(self) -> ModelProcess:
        try:
            async with asyncio.timeout_at(self._deadline()):
                return await ModelProcess.start(self._configuration, self._folder)
        except TimeoutError as e:
            raise self._over() from e
        except NoSandbox as e:
            raise ProbeFailed(f"no sandbox, so no model: {_plain(e)}") from e
        except (ModelUnavailable, Unavailable) as e:
            raise ProbeFailed(_plain(e)) from e

    async def _answered(self, tensor: Tensor, body: bytes, rows: int) -> RawOutput:
        if self._process is None:
            raise ProbeFailed("the model is not loaded")
        try:
            async with asyncio.timeout_at(self._deadline()):
                return (await self._process.ask([tensor], body, rows))[self._output.name]
        except TimeoutError as e:
            raise self._over() from e

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + max(self._ends - monotonic(), 0.0)

    def _over(self) -> ProbeFailed:
        return ProbeFailed(
            f"the {self._seconds:g} seconds of its budget were over after {self.asked} answers, so nothing is "
            "concluded: raise --budget-seconds, or give smaller images"
        )


def label_output(configuration: ServingConfiguration, wanted: str) -> OutputTensor:
    """The declared output that says the label best. Raises Invalid where none does, or `wanted` is none."""
    outputs = configuration.outputs
    if wanted:
        outputs = tuple(one for one in outputs if wanted in (one.name, one.source))
    for role in ("label", "probabilities", "logits", "values"):
        for output in outputs:
            if output.role == role:
                return output
    names = ", ".join(one.name for one in configuration.outputs)
    raise Invalid(f"--output: it is declared to give {names}")


def _lying(images: Any, layout: Layout, image: tuple[int, int, int]) -> Any:
    pixels = images.reshape(len(images), *image)
    if layout == "channels-first":
        return pixels.transpose(0, 3, 1, 2)
    return pixels.reshape(len(images), *one_image(layout, image))


def _as_declared(tensor: InputTensor, batch: Any) -> Any:
    """In the input's own type, and within what is declared of it. Raises ProbeFailed."""
    import numpy as np

    low, high = float(batch.min()), float(batch.max())
    least, most = INTEGER_RANGES.get(tensor.datatype, (-np.inf, np.inf))
    least = least if tensor.minimum is None else max(least, tensor.minimum)
    most = most if tensor.maximum is None else min(most, tensor.maximum)
    if not least <= low <= high <= most:
        raise ProbeFailed(
            f"the images go from {low:g} to {high:g}, and the model's input {tensor.name} ({tensor.datatype}) from "
            f"{least:g} to {most:g}: bring them to its scale"
        )
    dtype = np.dtype(_DTYPES.get(tensor.datatype, tensor.datatype.lower())).newbyteorder("<")
    with np.errstate(over="ignore"):
        made = batch.astype(dtype)
    whole = dtype.kind == "f" or (made == batch).all()
    if not np.isfinite(made).all() or not whole:
        raise ProbeFailed(f"the images are no {tensor.datatype}, which the model's input {tensor.name} takes")
    return made


def _read_labels(output: OutputTensor, raw: RawOutput, rows: int) -> list[int | str]:
    """Raises ProbeFailed."""
    import numpy as np

    if output.datatype == "BYTES":
        if output.role != "label" or len(raw.texts) != rows:
            raise ProbeFailed("the model does not answer one label for each image: choose another --output")
        return list(raw.texts)
    dtype = np.dtype(_DTYPES.get(output.datatype, output.datatype.lower())).newbyteorder("<")
    said = np.frombuffer(raw.numbers, dtype).reshape(raw.shape)
    if dtype.kind == "f" and not np.isfinite(said).all():
        raise ProbeFailed("the model answered numbers that are none (NaN or infinite): bring the images to its scale")
    if output.role == "label":
        if said.size != rows or (dtype.kind == "f" and (said != np.round(said)).any()):
            raise ProbeFailed("the model does not answer one label for each image: choose another --output")
        return [int(one) for one in said.ravel().tolist()]
    if said.ndim == 2 and said.shape[1] > 1:
        return list(said.argmax(axis=1).tolist())
    if said.size == rows and output.role in ("probabilities", "logits"):  # of the second of two labels
        return [int(one > (0.5 if output.role == "probabilities" else 0.0)) for one in said.ravel().tolist()]
    raise ProbeFailed(
        "the model answers neither a label for each image nor scores of each label: choose another --output, or "
        "declare with --serving whether one score is a probability or a logit"
    )


def _plain(error: Exception) -> str:
    """Without what moves a terminal's cursor: the model's process may have written it."""
    return "".join(char if char.isprintable() else " " for char in str(error))
