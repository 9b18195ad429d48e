"""What a client reads: an answer, or why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anytimenet.core.errors import AnytimeNetError


@dataclass(frozen=True)
class Answer:
    """The answer of a server for one image.

    Attributes:
        model: that gave it.
        label: the most probable class of `level`.
        labels: of each label level, fine level first.
        level: which level `label` is of; 1 is the fine one.
        stage: that answered, of `stages`.
        stages: of the net.
        probability: of `label`.
        probabilities: label and probability of the classes that were asked for.
        late: whether it came to this client after the deadline that was given here.
        server_ms: from its arrival at the server to its answer; of a stage of a stream, to that stage.
        round_trip_ms: from the call to the answer, retries included.
        final: false for a stage of a stream that is not its answer.
        request_id: by which the server's log knows it.
    """

    model: str
    label: str
    labels: tuple[str, ...]
    level: int
    stage: int
    stages: int
    probability: float
    probabilities: tuple[tuple[str, float], ...]
    late: bool
    server_ms: float
    round_trip_ms: float
    request_id: str
    final: bool = True

    @classmethod
    def of(cls, told: Mapping[str, Any], round_trip_ms: float, deadline_ms: float | None) -> Answer:
        """The answer in a JSON object of the server."""
        timings = told.get("timings")
        return cls(
            model=told["model"],
            label=told["label"],
            labels=tuple(told["labels"]),
            level=told["level"],
            stage=told["stage"],
            stages=told["stages"],
            probability=told["probability"],
            probabilities=tuple((one["label"], one["probability"]) for one in told["probabilities"]),
            late=deadline_ms is not None and round_trip_ms > deadline_ms,
            server_ms=told["elapsed_ms"] if timings is None else timings["total_ms"],
            round_trip_ms=round_trip_ms,
            request_id=told["request_id"],
            final=timings is not None,
        )


class ServerError(AnytimeNetError, RuntimeError):
    """There is no answer: the server refused, or could not be reached in time.

    Attributes:
        status: of HTTP; 0 where no answer came.
        reason: the server's code, such as "overload", "expired" or "bad_image"; "unreachable" or "timeout"
            where no answer came.
        retry_after_s: when the server would like to be asked again; None if it did not say.
    """

    def __init__(self, status: int, reason: str, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(f"{reason}: {words}")
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s

    @classmethod
    def of(cls, status: int, body: bytes, headers: Mapping[str, str]) -> ServerError:
        """What a response says that is no answer, whoever between here and the server wrote it."""
        try:
            told = json.loads(body)
            reason, words = str(told["reason"]), str(told["error"])
        except (ValueError, KeyError, TypeError):
            reason, words = "bad_gateway", f"status {status} came without words of this server"
            told = {}
        after = told.get("retry_after_s", headers.get("retry-after"))
        try:
            retry_after_s = None if after is None else max(0.0, float(after))
        except (TypeError, ValueError):
            retry_after_s = None
        return cls(status, reason, words, retry_after_s)
