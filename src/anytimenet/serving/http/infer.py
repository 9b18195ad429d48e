"""The Open Inference Protocol (KServe v2, as Triton speaks it), so that clients and gateways need no change.

An image is an element of `image` (BYTES), or a row of `input` (FP32, standardised). `deadline_ms`,
`min_stage`, `min_accuracy` and `priority` are parameters of the request; Triton's `timeout`, in microseconds,
is a deadline, too.
"""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np

from anytimenet.core.errors import NotFiniteError
from anytimenet.core.version import __version__
from anytimenet.serving.http.asking import asked, with_fields
from anytimenet.serving.http.bodies import ClientGoneError, Receive
from anytimenet.serving.http.door import VISIT, App, Scope, Send
from anytimenet.serving.http.outcomes import JSON, note_failure, respond, timed
from anytimenet.serving.http.problems import Problem, bad_request
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service
from anytimenet.serving.http.tensors import Inference, read_inference, write_inference
from anytimenet.serving.http.waiting import FailedError, Waiting, Watched
from anytimenet.serving.http.wanted import Wanted, decoded, settled
from anytimenet.serving.request import Done

OUTPUTS = ("label", "probability", "probabilities", "stage", "level", "late")
_LONGEST_US = 10**15
"""Of a `timeout`: what is longer cannot be told apart from none, and may be too long for a number."""
_MODEL = re.compile(r"/v2/models/([^/]+)(?:/versions/1)?(?:/(?:ready|infer))?")


def infer_routes(service: Service) -> list[tuple[str, str, App]]:
    """Paths, methods and what answers them."""
    protocol = _Protocol(service)
    found: list[tuple[str, str, App]] = [
        ("/v2", "GET", protocol.server),
        ("/v2/health/live", "GET", protocol.live),
        ("/v2/health/ready", "GET", protocol.ready),
    ]
    for version in ("", "/versions/1"):
        model = "/v2/models/{name}" + version
        found += [
            (model, "GET", protocol.model),
            (f"{model}/ready", "GET", protocol.model_ready),
            (f"{model}/infer", "POST", protocol.infer),
        ]
    return found


class _Protocol:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def server(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The name of the server and what it knows of the protocol."""
        await _tell(
            send, {"name": "anytimenet", "version": __version__, "extensions": ["binary_tensor_data"]}
        )

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether the process answers."""
        await _tell(send, {"live": True})

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether requests should be sent here."""
        if not self._service.ready:
            raise Problem(503, "closing", "the server is closing")
        await _tell(send, {"ready": True})

    async def model_ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Whether a model answers."""
        name = self._resident(scope).name
        if not self._service.ready:
            raise Problem(503, "closing", "the server is closing")
        await _tell(send, {"name": name, "ready": True})

    async def model(self, scope: Scope, receive: Receive, send: Send) -> None:
        """What a model reads and answers."""
        await _tell(send, _metadata(self._resident(scope)))

    async def infer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An answer for every image of a tensor, in one tensor an output."""
        service, visit = self._service, scope[VISIT]
        resident, headers = self._resident(scope), visit.headers
        body = await service.bodies.read(receive, headers)
        try:
            length = headers.get("inference-header-content-length")
            inference = read_inference(body, length, service.settings.limits.body_bytes)
            if strange := sorted(set(inference.outputs) - set(OUTPUTS)):
                raise bad_request(f"there is no output {strange[0]!r}: known are {', '.join(OUTPUTS)}")
            fields = [("model", resident.name), *_fields(inference.parameters)]
            ask = replace(
                with_fields(asked(b"", headers), fields), stream=False
            )  # of one answer, not of stages
            wanted = settled(service, visit, ask)
            with wanted.resident.used():
                answers = await self._answers(wanted, inference, scope, receive)
            content, end = write_inference(resident.name, inference, _outputs(answers))
        finally:
            service.bodies.let_go(len(body))
        kind = JSON if end is None else (b"content-type", b"application/octet-stream")
        extra = [] if end is None else [(b"inference-header-content-length", str(end).encode())]
        await respond(send, content, [kind, *extra])

    async def _answers(
        self, wanted: Wanted, inference: Inference, scope: Scope, receive: Receive
    ) -> list[tuple[Done, bool]]:
        """All of them, or the first reason why there is none: the protocol knows no half answers."""
        service, waiting = self._service, list[Waiting]()
        try:
            for x in await self._images(wanted, inference):
                waiting.append(Waiting(wanted.resident.server, x, wanted.request(service.way_back)))
            async with Watched(scope, receive, waiting):
                done = await asyncio.gather(*[one.end() for one in waiting])
        except (Problem, FailedError, ClientGoneError) as error:
            for one in waiting:
                one.cancel()
            problem = _too_far(inference) if isinstance(error.__cause__, NotFiniteError) else None
            note_failure(service, wanted, problem or error)
            if problem is not None:
                raise problem from None
            raise
        return [(one, timed(service, wanted, one)[1]) for one in done]

    async def _images(self, wanted: Wanted, inference: Inference) -> list[np.ndarray]:
        most, manifest = self._service.settings.limits.images, wanted.resident.manifest
        if len(inference.inputs) != 1 or not {"image", "input"} >= set(inference.inputs):
            raise bad_request('one input is needed: "image" (BYTES) or "input" (FP32)')
        ((name, tensor),) = inference.inputs.items()
        if (name == "image") != isinstance(tensor, list):
            raise bad_request('"image" is of datatype BYTES and "input" of FP32')
        if len(tensor) == 0:
            raise bad_request("no image was sent")
        if len(tensor) > most:
            raise Problem(413, "too_large", f"a request may have {most} images at most")
        if isinstance(tensor, list):
            return [await decoded(self._service, wanted, content) for content in tensor]
        if tensor.shape[1:] != manifest.input_shape or not np.isfinite(tensor).all():
            raise bad_request(
                f'"input" must be finite numbers of shape (N, {", ".join(map(str, manifest.input_shape))})'
            )
        return [np.ascontiguousarray(row[None]) for row in tensor]

    def _resident(self, scope: Scope) -> Resident:
        found = _MODEL.fullmatch(scope["path"])
        return self._service.residents.of(found[1] if found else "")


def _too_far(inference: Inference) -> Problem | None:
    """The fault is the client's where it chose the numbers that the net reads, and the net's else."""
    if "input" not in inference.inputs:
        return None
    return bad_request('the net overflows at these numbers: "input" must be standardised as the model says')


def _fields(parameters: dict[str, Any]) -> list[tuple[str, Any]]:
    """The parameters that mean something here; those of other servers say nothing."""
    found: list[tuple[str, Any]] = [
        (name, parameters[name])
        for name in ("deadline_ms", "min_stage", "min_accuracy", "priority")
        if name in parameters
    ]
    timeout = parameters.get("timeout")
    if "deadline_ms" not in parameters and type(timeout) is int and timeout > 0:
        found.append(("deadline_ms", min(timeout, _LONGEST_US) / 1000))
    return found


def _outputs(answers: list[tuple[Done, bool]]) -> dict[str, np.ndarray | list[str]]:
    found = [done.prediction for done, _ in answers]
    return {
        "label": [one.label for one in found],
        "probability": np.array([one.probability for one in found], np.float32),
        "probabilities": np.stack([one.probabilities for one in found]).astype(np.float32),
        "stage": np.array([one.stage for one in found], np.int32),
        "level": np.array([one.level for one in found], np.int32),
        "late": np.array([late for _, late in answers], np.bool_),
    }


def _metadata(resident: Resident) -> dict[str, Any]:
    classes = len(resident.manifest.class_names[0])
    shapes = {"probabilities": [-1, classes]}
    kinds = {"label": "BYTES", "stage": "INT32", "level": "INT32", "late": "BOOL"}
    return {
        "name": resident.name,
        "versions": ["1"],
        "platform": "anytimenet",
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
            {"name": "input", "datatype": "FP32", "shape": [-1, *resident.manifest.input_shape]},
        ],
        "outputs": [
            {"name": name, "datatype": kinds.get(name, "FP32"), "shape": shapes.get(name, [-1])}
            for name in OUTPUTS
        ],
    }


async def _tell(send: Send, value: dict[str, Any]) -> None:
    await respond(send, json.dumps(value).encode(), [JSON])
