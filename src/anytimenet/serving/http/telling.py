"""What the server says of its models and of itself: `/v1/models`, `/v1/load`, health and metrics."""

from __future__ import annotations

from typing import Any

from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.version import __version__
from anytimenet.serving.http.residents import Resident
from anytimenet.serving.http.service import Service
from anytimenet.serving.model_server import ServerStatus


def model_record(resident: Resident, *, demo: bool = False, samples: bool = False) -> dict[str, Any]:
    """The JSON object of a model: what it answers, what its stages cost, and what they take here.

    Args:
        resident: the model.
        demo: whether the endpoints that make load are there, so that a page can offer them.
        samples: whether there are images to try at `/samples`.
    """
    manifest, table = resident.manifest, resident.server.table
    backend = resident.model.backend
    return {
        "name": resident.name,
        "task": manifest.task_kind,
        "levels": len(manifest.class_names),
        "class_names": [list(names) for names in manifest.class_names],
        "input": {
            "channels": manifest.preprocessing.channels,
            "height": manifest.preprocessing.height,
            "width": manifest.preprocessing.width,
        },
        "stages": [
            {
                "stage": at,
                "macs": record.macs,
                "val_accuracy": record.val_accuracy,
                "latency_ms": _quantiles(table, at),
            }
            for at, record in enumerate(manifest.stages, 1)
        ],
        "segments": [
            {"start": start, "stop": stop, "batch": batch, **_latency(latency)}
            for (start, stop, batch), latency in sorted(table.entries.items())
        ],
        "backend": backend.name,
        "threads": resident.server.threads,
        "policy": resident.server.policy,
        "demo": demo,
        "samples": samples,
    }


def _quantiles(table: CostTable, stage: int) -> dict[str, float] | None:
    """Of stage `stage` from the input, if it was measured."""
    latency = table.entries.get((0, stage, 1))
    return None if latency is None else _latency(latency)


def _latency(latency: Latency) -> dict[str, float]:
    return {
        "median_ms": round(latency.median_ms, 4),
        "p95_ms": round(latency.p95_ms, 4),
        "p99_ms": round(latency.p99_ms, 4),
    }


def load_record(service: Service) -> dict[str, Any]:
    """The JSON object of `/v1/load`: how busy the server is, and what became of requests so far."""
    return {
        "version": __version__,
        "uptime_s": round(service.clock() - service.began, 1),
        "ready": service.ready,
        "draining": service.draining,
        "under_way": service.under_way,
        "models": {one.name: _load_of(one.server.snapshot()) for one in service.residents},
    }


def _load_of(status: ServerStatus) -> dict[str, Any]:
    outcomes = dict(status.outcomes)
    answered = outcomes.get("answered", 0) + outcomes.get("late", 0)
    return {
        "policy": status.policy,
        "queue": status.waiting,
        "paused": status.paused,
        "running": status.running,
        "threads": status.threads,
        "slowdown": round(status.slowdown, 3),
        "utilisation": round(status.utilisation, 4),
        "outcomes": outcomes,
        "stages": {str(stage): count for stage, count in status.stages.items()},
        "late_rate": round(outcomes.get("late", 0) / answered, 6) if answered else 0.0,
    }
