"""The provider `releases`: predictive models of this environment's own, behind the same pipeline as any other.

Validate, count, watch, ask, say less. Each step that refuses leaves the ones after it undone, and what was found out by
then stands in the entry.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from time import monotonic, time
from typing import cast

from vallum.gateway.document import encode_document
from vallum.gateway.limits import RequestTooLarge
from vallum.gateway.protocols.predictive import Prediction, PredictiveProtocol, Served
from vallum.gateway.providers.failures import UpstreamFailed
from vallum.gateway.providers.port import Call, UpstreamAnswer, UpstreamStream
from vallum.gateway.refusals import Refused
from vallum.guards import Counted
from vallum.kernel.errors import Invalid, LimitExceeded, VallumError
from vallum.kernel.store.counters import Counters, Take
from vallum.models.runtime.errors import (
    InputRefused,
    ModelBusy,
    ModelFailed,
    ModelLoading,
    ModelTimeout,
    ModelUnavailable,
)
from vallum.models.runtime.model import OutputTensor, ServingConfiguration
from vallum.models.runtime.obfuscation import given_outputs, obfuscated
from vallum.models.runtime.ports import Deployment
from vallum.models.runtime.server import ModelServer, Result
from vallum.models.runtime.servers import ModelServers
from vallum.models.runtime.suspicions import Suspicions
from vallum.models.runtime.tensors import Inputs, take_inputs, unpack

__all__ = ["PredictiveUpstream"]

_log = logging.getLogger("vallum.gateway")

_HOUR, _DAY = 3600, 86_400
_MAX_HEARING = 64  # requests that shadows hear at once; more go unheard
_MANY_ELEMENTS = 20_000  # a millisecond's checking; more goes to a thread
_DETECTOR, _DETECTOR_VERSION = "extraction", "1"


class PredictiveUpstream:
    """For one event loop."""

    def __init__(
        self, servers: ModelServers, counters: Counters, suspicions: Suspicions,
        seconds: Callable[[], float] = monotonic, wall: Callable[[], float] = time,
    ) -> None:  # fmt: skip
        self._servers = servers
        self._counters = counters
        self._suspicions = suspicions
        self._seconds = seconds
        self._wall = wall
        self._hearing: set[asyncio.Task[None]] = set()

    async def call(self, call: Call) -> UpstreamAnswer:
        protocol = cast(PredictiveProtocol, call.protocol)  # the pipeline asks with no other: see `provider_kinds`
        deployment = self._deployment(call, protocol.version)
        serving = deployment.serving
        call.context.update(
            release=deployment.release, model_version=deployment.version, model_digest=deployment.digest
        )
        try:
            outputs = _wanted(serving, protocol.wanted(call.document))
            inputs = await self._inputs(call, protocol, serving)
        except InputRefused:
            await self._note_refusal(call, protocol, deployment)
            raise
        call.context["rows"] = inputs.rows
        await self._count(call, serving, inputs.rows)
        self._let_shadow_hear(call)
        started = self._seconds()
        try:
            server = self._servers.server(deployment)
            looked = await self._look(call, deployment, server, inputs)
            result = await self._asked(deployment, server, inputs)
        except (ModelBusy, ModelUnavailable) as e:
            raise Refused(503, e.code, str(e), outcome=e.code, retry_after_seconds=1) from e
        except ModelTimeout as e:
            raise Refused(504, e.code, str(e), outcome=e.code) from e
        except ModelFailed as e:
            raise Refused(502, e.code, str(e), outcome=e.code) from e
        if not looked:  # its baseline came with the model, which had to be loaded first
            await self._look(call, deployment, server, inputs)
        served = Served(_asked_name(call), deployment.version, inputs.rows, call.entry_id)
        answer = protocol.render(call.document, served, _predictions(serving, outputs, result, inputs.rows))
        judged = partial(self._answered, deployment, self._seconds() - started)
        return UpstreamAnswer(200, encode_document(answer), judged=judged)

    def stream(self, call: Call) -> AbstractAsyncContextManager[UpstreamStream]:
        raise Invalid("stream: predictions do not stream")

    async def close(self) -> None:
        for task in list(self._hearing):
            task.cancel()
        await self._servers.close()

    async def _asked(self, deployment: Deployment, server: ModelServer, inputs: Inputs) -> Result:
        """The answer. A failure counts against a release on trial: not that a model is busy, or is still being loaded,
        nor that whoever asked has gone."""
        started = self._seconds()
        try:
            return await server.ask(inputs)
        except (ModelBusy, ModelLoading):
            raise
        except VallumError:
            self._servers.observe(deployment, failed=True, seconds=self._seconds() - started)
            raise

    def _answered(self, deployment: Deployment, seconds: float, findings: int) -> None:
        self._servers.observe(deployment, failed=False, seconds=seconds, findings=findings)

    async def _note_refusal(self, call: Call, protocol: PredictiveProtocol, deployment: Deployment) -> None:
        """What the release that runs would have taken, one on trial fails at."""
        stable = self._servers.current(call.model_name, "")
        if stable is None or stable == deployment:
            return
        with suppress(InputRefused):
            _wanted(stable.serving, protocol.wanted(call.document))
            await self._inputs(call, protocol, stable.serving)
            self._servers.observe(deployment, failed=True, seconds=0.0)

    def _let_shadow_hear(self, call: Call) -> None:
        """Beside the request, which waits for none of it. Inputs that its schema does not take are a failure of it."""
        deployment = self._servers.shadow(call.model_name, call.side_key)
        if deployment is None or len(self._hearing) >= _MAX_HEARING:
            return
        protocol = cast(PredictiveProtocol, call.protocol)
        task = asyncio.create_task(self._hear(deployment, protocol, call))
        self._hearing.add(task)
        task.add_done_callback(self._hearing.discard)

    async def _hear(self, deployment: Deployment, protocol: PredictiveProtocol, call: Call) -> None:
        try:
            server = self._servers.server(deployment)
            inputs = await self._inputs(call, protocol, deployment.serving)
            started = self._seconds()
            await self._asked(deployment, server, inputs)
            self._answered(deployment, self._seconds() - started, 0)
        except InputRefused:
            self._servers.observe(deployment, failed=True, seconds=0.0)
        except VallumError as e:
            _log.info("a shadow did not answer: %s", e)

    def _deployment(self, call: Call, version: int | None) -> Deployment:
        deployment = self._servers.current(call.model_name, call.side_key)
        if deployment is not None and version not in (None, deployment.version):
            deployment = self._servers.current(call.model_name, "")  # who names a version of those that answer gets it
        if deployment is None:
            raise UpstreamFailed(
                503, "model_not_deployed", "no release of this environment deploys the model", retryable=False
            )
        if version is not None and version != deployment.version:
            message = "the version asked for is not the one that answers here: leave it out"
            raise Refused(404, "model_version_not_found", message, outcome="invalid")
        return deployment

    async def _inputs(self, call: Call, protocol: PredictiveProtocol, serving: ServingConfiguration) -> Inputs:
        given = protocol.tensors(call.document, serving)
        if sum(len(one.data) for one in given) > _MANY_ELEMENTS:
            return await asyncio.to_thread(take_inputs, serving, given)
        return take_inputs(serving, given)

    async def _count(self, call: Call, serving: ServingConfiguration, rows: int) -> None:
        budget = serving.query_budget
        takes = []
        for unit, limit, seconds in (
            ("rows/hour", budget.rows_per_hour, _HOUR), ("rows/day", budget.rows_per_day, _DAY),
        ):  # fmt: skip
            if limit is not None:
                if rows > limit:
                    raise RequestTooLarge(f"this request alone has {rows} rows, more than the {limit} of {unit}")
                who = f"{len(call.subject)}/{call.subject}"  # both names may hold slashes
                takes.append(Take(f"queries/{who}/{call.model_name}/{unit}", limit, seconds, rows))
        if takes:
            verdict = await self._counters.take(takes)
            if not verdict.allowed:
                unit = "/".join((verdict.key or "").split("/")[-2:])
                message = f"the query budget of {unit} for this model is used up"
                raise LimitExceeded(message, max(verdict.retry_after_seconds, 0.001))

    async def _look(self, call: Call, deployment: Deployment, server: ModelServer, inputs: Inputs) -> bool:
        """False where there is no baseline yet. Raises Refused for a subject that is to be refused."""
        settings = deployment.serving.extraction
        if settings.mode == "off":
            return True
        baseline = server.baseline
        if baseline is None:
            return False
        model = f"{deployment.model}/{deployment.version}"
        suspicion = await self._suspicions.see(
            call.subject, model, baseline, inputs.rows, inputs.vectors, settings, self._wall()
        )
        if suspicion is not None:
            action = "block" if settings.mode == "refuse" else "detect"
            call.findings.append(Counted(_DETECTOR, _DETECTOR_VERSION, suspicion.kind, action, 1))
            if settings.mode == "refuse":
                message = "these queries look made to copy the model, and are refused: ask the model's owner"
                raise Refused(403, "extraction_suspected", message, outcome="blocked")
        return True


def _wanted(serving: ServingConfiguration, names: Sequence[str]) -> tuple[OutputTensor, ...]:
    """Those asked for, of those that may leave. Raises InputRefused."""
    given = given_outputs(serving.outputs, serving.output_policy)
    asked = list(names)
    if not asked:
        return given
    by_name = {output.name: output for output in given}
    if not set(asked) <= by_name.keys() or len(set(asked)) != len(asked):
        raise InputRefused(f"outputs: once each, of {', '.join(by_name)}")
    return tuple(by_name[name] for name in asked)


def _predictions(
    serving: ServingConfiguration, outputs: tuple[OutputTensor, ...], result: Result, rows: int
) -> list[Prediction]:
    predictions = []
    for output in outputs:
        shape, values = unpack(output, result.outputs[output.name], result.first, rows)
        values = obfuscated(output, shape, values, serving.output_policy)
        predictions.append(Prediction(output.name, output.datatype, shape, values))
    return predictions


def _asked_name(call: Call) -> str:
    return call.protocol.model(call.document)
