"""What Prometheus reads at `/metrics`: of this server alone, in a registry of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from anytimenet.core.answers.prediction import Prediction
from anytimenet.core.errors import require
from anytimenet.serving.http.answering import Times
from anytimenet.serving.http.residents import Resident, Residents

_SECONDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0),
)
OUTCOMES = ("answered", "late", "overload", "expired", "closing", "cancelled", "failed", "invalid")
"""How a request for one image ends; "expired" work was skipped because its deadline was over."""


class Metrics:
    """Counters and distributions of requests for predictions, and what the schedulers say of themselves.

    Useful goodput is what clients could use: right answers before their deadlines. Whether an answer is right
    is known only where the client sent the true class (`label=`); of all requests it is expected from the
    validated accuracy of the stage that answered.

    Args:
        residents: the models.
        state: what the server itself holds: names of gauges and their values.
    """

    def __init__(self, residents: Residents, state: Callable[[], dict[str, tuple[str, float]]]) -> None:
        client = require("prometheus_client", "serve")
        self._client = client
        self.registry = client.CollectorRegistry()
        self._residents, self._state = residents, state

        def made(kind: Any, name: str, said: str, labels: Sequence[str], **more: Any) -> Any:
            return kind(f"anytimenet_{name}", said, labels, registry=self.registry, **more)

        counter, histogram = client.Counter, client.Histogram
        self._requests = made(counter, "requests", "Images asked for, by how it ended.", ["model", "outcome"])
        self._answers = made(counter, "answers", "Answers, by the stage that gave them.", ["model", "stage"])
        self._seconds = made(
            histogram, "request_seconds", "From arrival to answer.", ["model"], buckets=_SECONDS
        )
        self._queued = made(
            histogram, "queued_seconds", "From arrival to the first segment.", ["model"], buckets=_SECONDS
        )
        self._ran = made(histogram, "run_seconds", "In segments of the net.", ["model"], buckets=_SECONDS)
        self._in_time = made(counter, "in_time_answers", "Answers before their deadlines.", ["model"])
        self._expected = made(
            counter,
            "expected_correct",
            "Answers before their deadlines, each counted by the validated accuracy of its stage.",
            ["model"],
        )
        self._labelled = made(
            counter,
            "labelled",
            "Requests that told the true class: correct and in time is useful goodput, all else is not.",
            ["model", "result"],
        )
        self._responses = made(counter, "http_responses", "Responses, by status.", ["status"])
        self._reloads = made(counter, "reloads", "Models that were loaded again.", ["model", "result"])
        self.registry.register(_Gauges(residents, state))
        client.ProcessCollector(registry=self.registry)
        for resident in residents:
            for outcome in OUTCOMES:
                self._requests.labels(resident.name, outcome)
            for stage in range(1, resident.stages + 1):
                self._answers.labels(resident.name, str(stage))

    def answered(
        self, resident: Resident, answer: Prediction, times: Times, late: bool, label: str | None
    ) -> None:
        """One image was answered."""
        name = resident.name
        self._requests.labels(name, "late" if late else "answered").inc()
        self._answers.labels(name, str(answer.stage)).inc()
        self._seconds.labels(name).observe(times.total_ms / 1000)
        self._queued.labels(name).observe(times.queued_ms / 1000)
        self._ran.labels(name).observe(times.run_ms / 1000)
        if not late:
            self._in_time.labels(name).inc()
            self._expected.labels(name).inc(resident.manifest.stages[answer.stage - 1].val_accuracy or 0.0)
        if label is not None:
            result = "late" if late else "correct" if label == answer.label else "wrong"
            self._labelled.labels(name, result).inc()

    def unanswered(self, name: str, outcome: str, label: str | None = None) -> None:
        """One image was not."""
        self._requests.labels(name, outcome).inc()
        if label is not None:
            self._labelled.labels(name, "unanswered").inc()

    def responded(self, status: int) -> None:
        """A response began."""
        self._responses.labels(str(status)).inc()

    def reloaded(self, name: str, result: str) -> None:
        """A model was loaded again, or could not be."""
        self._reloads.labels(name, result).inc()

    def text(self) -> tuple[bytes, str]:
        """What `/metrics` answers, and its content type."""
        return self._client.generate_latest(self.registry), "text/plain; version=0.0.4; charset=utf-8"


class _Gauges:
    """Read when somebody asks, so that nothing is kept twice."""

    def __init__(self, residents: Residents, state: Callable[[], dict[str, tuple[str, float]]]) -> None:
        self._family = require("prometheus_client.core", "serve").GaugeMetricFamily
        self._residents, self._state = residents, state

    def collect(self) -> Iterator[Any]:
        """The gauges."""
        gauges = {
            "queue_length": ("Requests that wait for their first segment.", "waiting"),
            "paused": ("Requests between two segments.", "paused"),
            "running": ("Segments under way.", "running"),
            "engine_threads": ("Threads that run segments.", "threads"),
            "slowdown": ("Slowness of the machine, as a multiple of when it was profiled.", "slowdown"),
            "utilisation": ("Share of the threads' time that segments took, of late.", "utilisation"),
        }
        found = [(one.name, one.server.snapshot()) for one in self._residents]
        for name, (said, field) in gauges.items():
            family = self._family(f"anytimenet_{name}", said, labels=["model"])
            for model, status in found:
                family.add_metric([model], float(getattr(status, field)))
            yield family
        for name, (said, value) in self._state().items():
            yield self._family(f"anytimenet_{name}", said, value=value)
