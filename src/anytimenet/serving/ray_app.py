"""Several replicas of a model server under Ray Serve: one scheduler each, routed and scaled by slack.

    serve run anytimenet.serving.ray_app:build folder=FOLDER replicas=2

An adapter and no more: each replica has a `ModelServer` and answers as it does. Ray brings processes on many
machines, health checks and restarts.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anytimenet.core import checks
from anytimenet.core.errors import DataError, require
from anytimenet.runtime.exported.net import ExportedNet
from anytimenet.serving.http.asking import Ask, asked
from anytimenet.serving.http.bodies import Bodies, ClientGoneError
from anytimenet.serving.http.pictures import net_input
from anytimenet.serving.http.problems import Problem, bad_request
from anytimenet.serving.http.settings import Limits
from anytimenet.serving.http.waiting import problem_of
from anytimenet.serving.model_server import ModelServer
from anytimenet.serving.request import Done, Failed, Overloaded, Refused, Request, Update
from anytimenet.serving.slack import SlackMeter, SlackScaling

_AT_A_TIME = 1000
"""Requests that Ray may send to a replica: it is the replica's scheduler that queues them, not Ray."""
_STATS_S = 0.5
_IGNORED = ("model", "stream", "top", "label")
"""Parameters of the server of one machine that mean nothing here."""


@dataclass(frozen=True)
class RaySettings:
    """What is served, and by how many.

    Attributes:
        folder: of an exported net, at the same place on every machine.
        policy: a name of `known_policies()`.
        threads: engine threads of a replica, and the cores that Ray keeps for it.
        replicas: at the start, and always unless `most_replicas` is more.
        most_replicas: up to which slack scales.
        deadline_ms: of requests that name none; None: their best stage answers.
        scaling: when there are more and fewer.

    Raises:
        TypeError, ValueError: for values out of range.
    """

    folder: str
    policy: str = "anytime"
    threads: int = 1
    replicas: int = 1
    most_replicas: int | None = None
    deadline_ms: float | None = None
    scaling: SlackScaling = field(default_factory=SlackScaling)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", str(checks.path(Path(self.folder), "folder")))
        checks.settle(self, "threads", checks.whole_number, 1, 1024)
        checks.settle(self, "replicas", checks.whole_number, 1, 10_000)
        checks.settle(self, "most_replicas", checks.optional, checks.whole_number, self.replicas, 10_000)
        checks.settle(self, "deadline_ms", checks.optional, checks.number, 0)


class Replica:
    """One process with a model; the scheduler in it decides who is answered when, and how deep."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        net = ExportedNet.load(settings.folder)
        self._look = net.manifest.preprocessing
        self._server = ModelServer(net, policy=settings.policy, threads=settings.threads)
        self._limits = Limits()
        self._bodies = Bodies(self._limits)
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="anytimenet-decoder")
        self._slack = SlackMeter()
        self._first_s, self._full_s = _ends(self._server)

    async def __call__(self, request: Any) -> Any:
        """POST of an image, asked as `/v1/predict` of `anytimenet serve` is, but for `model` and `stream`."""
        from starlette.responses import JSONResponse, Response

        arrived = time.monotonic()
        try:
            return JSONResponse(await self._answer_http(request, arrived))
        except ClientGoneError:
            return Response(status_code=499)
        except Overloaded as error:
            problem = problem_of(error.reason, error.retry_after_s)
        except (DataError, ValueError) as error:
            problem = bad_request(str(error))
        except Problem as error:
            problem = error
        headers = {name.decode(): value.decode() for name, value in problem.headers}
        return Response(problem.body, problem.status, headers)

    async def _answer_http(self, request: Any, arrived: float) -> dict[str, Any]:
        headers = dict(request.headers)
        ask = asked(request.url.query.encode("latin-1", "replace"), headers)
        default = Ask()
        for name in _IGNORED:
            if getattr(ask, name) != getattr(default, name):
                raise bad_request(f"{name} means nothing here: one model answers, with its best class")
        content = await self._bodies.read(request.receive, headers)
        deadline_ms = self._settings.deadline_ms if ask.deadline_ms is None else ask.deadline_ms
        try:
            deadline = None if deadline_ms is None else arrived + deadline_ms / 1000
            wanted = Request(arrived, deadline, ask.min_stage, ask.min_accuracy, ask.priority)
            return await self._run(content, wanted)
        finally:
            self._bodies.let_go(len(content))

    async def answer(
        self,
        content: bytes,
        deadline_ms: float | None = None,
        min_stage: int = 1,
        arrived: float | None = None,
    ) -> dict[str, Any]:
        """The answer to an image file; also for other deployments, through a handle.

        Args:
            content: of the file.
            deadline_ms: from `arrived`; None: the best stage answers.
            min_stage: no earlier stage answers.
            arrived: on this process's `time.monotonic`; now by default.

        Raises:
            DataError: for what is no image, or too large a one.
            Overloaded: if not even the least stage would be in time.
            ValueError: for a deadline or a stage out of range.
        """
        arrived = time.monotonic() if arrived is None else arrived
        allowed_s = None if deadline_ms is None else checks.number(deadline_ms, "deadline_ms", 0) / 1000
        request = Request(arrived, None if allowed_s is None else arrived + allowed_s, min_stage)
        try:
            return await self._run(content, request)
        except Problem as problem:  # Ray sends errors to who asked as pickles, which a Problem has none of
            raise DataError(problem.words) from None

    async def _run(self, content: bytes, request: Request) -> dict[str, Any]:
        allowed_s = None if request.deadline is None else request.deadline - request.arrived
        x = await net_input(content, self._look, self._limits, self._decoder, _any_time)
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Update] = loop.create_future()

        def notify(update: Update) -> None:
            loop.call_soon_threadsafe(_settle, ended, update)

        try:
            ticket = self._server.submit(x, request, notify)
        except Overloaded:
            self._refused(allowed_s)
            raise
        try:
            update = await ended
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        if isinstance(update, Failed):
            raise update.error
        if isinstance(update, Refused):
            self._refused(allowed_s)
            raise Overloaded(update.retry_after_s, update.reason)
        assert isinstance(update, Done)
        if allowed_s is not None:
            self._slack.came(allowed_s, update.timing.queued_ms / 1000, self._full_s * self._slow)
        return _told(update)

    def record_routing_stats(self) -> dict[str, float]:
        """What the router knows of this replica: seconds that one more first answer takes; answers so far."""
        outcomes = self._server.snapshot().outcomes
        return {
            "first_s": self._first_s * self._slow / self._server.threads,
            "answered": float(outcomes["answered"] + outcomes["late"]),
        }

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What scaling knows: slack, and the share of the threads' time that is taken."""
        stats = {"utilisation": self._server.snapshot().utilisation}
        return stats if math.isnan(self._slack.mean) else {**stats, "slack": self._slack.mean}

    def check_health(self) -> None:
        """Raises once the server is closed, so that Ray starts another."""
        if self._server.snapshot().closing:
            raise RuntimeError("the model server is closed")

    def __del__(self) -> None:
        server = getattr(self, "_server", None)
        if server is not None:
            server.close()

    @property
    def _slow(self) -> float:
        return self._server.snapshot().slowdown

    def _refused(self, allowed_s: float | None) -> None:
        if allowed_s is not None:
            self._slack.came(allowed_s, allowed_s, self._full_s * self._slow)


def application(settings: RaySettings) -> Any:
    """The application for `ray.serve.run`: replicas routed by slack and, if asked for, scaled by it.

    Raises:
        MissingExtraError: without Ray.
    """
    serve = require("ray.serve", "ray")
    config = require("ray.serve.config", "ray")
    router = config.RequestRouterConfig(
        request_router_class="anytimenet.serving.ray_routing:SlackRouter",
        request_routing_stats_period_s=_STATS_S,
    )
    options: dict[str, Any] = {"num_replicas": settings.replicas}
    if settings.most_replicas is not None and settings.most_replicas > settings.replicas:
        options = {
            "autoscaling_config": config.AutoscalingConfig(
                min_replicas=settings.replicas,
                max_replicas=settings.most_replicas,
                upscale_delay_s=2.0,
                downscale_delay_s=60.0,
                metrics_interval_s=_STATS_S,
                look_back_period_s=2.0,
                policy=config.AutoscalingPolicy(policy_function=_policy(settings.scaling)),
            )
        }
    deployment = serve.deployment(
        Replica,
        name="anytimenet",
        max_ongoing_requests=_AT_A_TIME,
        ray_actor_options={"num_cpus": settings.threads},
        request_router_config=router,
        health_check_period_s=2.0,
        graceful_shutdown_timeout_s=10.0,
        **options,
    )
    return deployment.bind(settings)


def build(arguments: Mapping[str, Any]) -> Any:
    """The application for `serve run`, whose arguments are the fields of `RaySettings`.

    Raises:
        MissingExtraError: without Ray.
        TypeError, ValueError: for arguments that are none, or out of range.
    """
    whole = dict.fromkeys(("threads", "replicas", "most_replicas"), int)
    known: dict[str, Any] = {"folder": str, "policy": str, **whole, "deadline_ms": float}
    unknown = sorted(set(arguments) - set(known))
    if unknown or "folder" not in arguments:
        raise ValueError(
            f"arguments are folder=FOLDER and perhaps {', '.join(known)}; not {unknown or 'none'}"
        )
    return application(RaySettings(**{name: known[name](value) for name, value in arguments.items()}))


def _policy(scaling: SlackScaling) -> Any:
    """The function that Ray asks for the number of replicas."""

    def replicas(context: Any) -> tuple[int, dict[str, Any]]:
        metrics = context.aggregated_metrics or {}
        slack, utilisation = (_mean(metrics.get(name, {})) for name in ("slack", "utilisation"))
        taken = 0.0 if math.isnan(utilisation) else utilisation
        wanted = scaling.replicas(context.current_num_replicas, slack, taken)
        least, most = context.capacity_adjusted_min_replicas, context.capacity_adjusted_max_replicas
        return min(max(wanted, least), most), {}

    return replicas


def _mean(values: Mapping[Any, float]) -> float:
    return sum(values.values()) / len(values) if values else float("nan")


def _ends(server: ModelServer) -> tuple[float, float]:
    """Seconds of the first stage and of the whole net, as they were profiled."""
    entries = server.table.entries
    ends = {
        stop: one.median_ms / 1000
        for (start, stop, batch), one in entries.items()
        if (start, batch) == (0, 1)
    }
    return ends[min(ends)], ends[max(ends)]


def _any_time() -> None:
    """Ray has no clock of ours to look at before an image is decoded."""


def _settle(ended: asyncio.Future[Update], update: Update) -> None:
    if isinstance(update, Done | Refused | Failed) and not ended.done():
        ended.set_result(update)


def _told(done: Done) -> dict[str, Any]:
    one, timing = done.prediction, done.timing
    return {
        "label": one.label,
        "stage": one.stage,
        "probability": one.probability,
        "late": timing.late,
        "timings": {"queued_ms": timing.queued_ms, "run_ms": timing.run_ms, "total_ms": timing.total_ms},
    }
