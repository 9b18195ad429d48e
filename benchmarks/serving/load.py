"""Useful goodput under load: our policies and other servers around the same engine, on one core.

    python benchmarks/serving/load.py MODELS [--peers PACKAGES] [--nets NET ...] [--seeds 2]

MODELS is what `prepare.py` made; PACKAGES holds folders `litserve`, `bentoml` and `ray` that `pip install
--target` filled. The server has one core (the last), the generator another (the first). Writes
`results/serving-load/<commit>-<machine>.json`. Servers run at a nice value below 0 and the generator with a
real-time priority where this machine allows it; the result says what it was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from history import commit, place
from serving.arrivals import SHAPES
from serving.generator import Run, save_plan
from serving.goodput import MOST_LAG, Score, score
from serving.servers import PEERS, POLICIES, PRIORITY, Kind, ours, peer, running, settle

NAME = "serving-load"
HERE = Path(__file__).parent
SERVER_CORE, GENERATOR_CORE = (os.cpu_count() or 2) - 1, 0
RATES = {
    "0.5 full": ("full", 0.5),
    "1.5 full": ("full", 1.5),
    "0.5 C1": ("first", 0.5),
    "0.8 C1": ("first", 0.8),
    "1.5 C1": ("first", 1.5),
}
SHORTEST_MS, TIMES_FULL = 25.0, 5.0
"""A deadline is so many times the full net's own time, and not shorter."""
MARGIN_MS = 1.0
"""What the client keeps back of its deadline for the way to the server and back."""
TRIES = 3


@dataclass(frozen=True)
class Images:
    """The different requests, and what is right."""

    contents: list[bytes]
    labels: list[str]


@dataclass(frozen=True)
class Bench:
    """What the runs of one net share.

    Attributes:
        images: to send.
        deadline_s: of each request.
        seconds: of a run.
        work: a folder for plans.
        priority: command before the generator's.
    """

    images: Images
    deadline_s: float
    seconds: float
    work: Path
    priority: tuple[str, ...]

    def drive(
        self,
        address: tuple[str, int],
        kind: Kind,
        intended: np.ndarray,
        seed: int,
        clients: int | None = None,
    ) -> tuple[Run, list[str]]:
        """One run in a process of its own, and the right labels of its requests.

        With `clients` it is a closed loop: so many, who wait for their answer for a minute.
        """
        draws = np.random.default_rng(seed).integers(len(self.images.contents), size=len(intended))
        requests = [kind.request(content) for content in self.images.contents]
        plan, result = self.work / "plan.npz", self.work / "run.npz"
        patience_s = 60.0 if clients else max(1.0, 4 * self.deadline_s)
        save_plan(plan, address, requests, draws, intended, patience_s, clients)
        command = ("taskset", "-c", str(GENERATOR_CORE), sys.executable, str(HERE / "generator.py"))
        subprocess.run((*self.priority, *command, str(plan), str(result)), check=True)
        return Run.load(result), [self.images.labels[draw] for draw in draws]

    def open_loop(self, address: tuple[str, int], kind: Kind, shape: str, rate_hz: float, seed: int) -> Score:
        """A run that counts: another try where the generator was late."""
        intended = SHAPES[shape](rate_hz, self.seconds, seed)
        for _ in range(TRIES):
            run, labels = self.drive(address, kind, intended, seed)
            found = score(run, labels, self.deadline_s)
            time.sleep(0.1)
            if found.counts:
                break
        return found

    def saturation_hz(self, address: tuple[str, int], kind: Kind, expected_hz: float) -> float:
        """Answers a second to four clients of which each asks again as soon as it has its answer."""
        count = max(40, int(1.5 * expected_hz))
        run, _ = self.drive(address, kind, np.zeros(count), 0, clients=4)
        if (run.status != 200).any():
            raise RuntimeError(f"{kind.name}: {(run.status != 200).sum()} of {count} were not answered")
        return float(count / np.nanmax(run.answered))

    def alone_ms(self, address: tuple[str, int], kind: Kind) -> float:
        """Median latency of one request at a time."""
        run, _ = self.drive(address, kind, np.arange(60) * max(0.03, 1.2 * self.deadline_s / TIMES_FULL), 0)
        return float(1000 * np.nanmedian(run.latency))


def measure(name: str, options: argparse.Namespace, keep: Any) -> dict[str, Any]:
    """All runs of one net; `keep` is called after each server."""
    export = options.models / name
    images = _images(options.models / "images.npz")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        own = _own(export, options.models / "images.npz", work)
        deadline_ms = max(SHORTEST_MS, 5 * round(TIMES_FULL * own["stage_ms"][-1] / 5))
        bench = Bench(images, deadline_ms / 1000, options.seconds, work, options.priority)
        asked_ms = deadline_ms - MARGIN_MS
        full_ms, first_ms = own["stage_ms"][-1], own["stage_ms"][0]
        told = np.array(own["labels"])
        stages = (told == np.array(images.labels)[:, None]).mean(axis=0)
        net: dict[str, Any] = {
            "net": name,
            "deadline_ms": deadline_ms,
            "own_ms": [round(each, 3) for each in own["stage_ms"]],
            "prepare_ms": round(own["prepare_ms"], 3),
            "stage_accuracy": [round(float(each), 4) for each in stages],
            "cells": [],
        }
        hz = {}
        for key, policy, each in (("full", "full", full_ms), ("first", "stage_1", first_ms)):
            kind = ours(export, policy, 60_000)
            with running(kind, images.contents[0], SERVER_CORE) as address:
                hz[key] = bench.saturation_hz(address, kind, 1000 / (each + 1))
                net[f"{key}_alone_ms"] = round(bench.alone_ms(address, kind), 3)
        net |= {"full_hz": round(hz["full"], 1), "first_hz": round(hz["first"], 1)}
        rates = {key: share * hz[of] for key, (of, share) in RATES.items()}
        net["null"] = _null(bench, max(rates.values()))
        print(json.dumps({key: value for key, value in net.items() if key != "cells"}), flush=True)
        keep(net)

        def cells(kind: Kind, told: dict[str, Any], seeds: Sequence[int], shapes: Sequence[str]) -> None:
            with running(kind, images.contents[0], SERVER_CORE) as address:
                for shape in shapes:
                    chosen = rates if shape == "poisson" else {"0.8 C1": rates["0.8 C1"]}
                    for rate, rate_hz in chosen.items():
                        for seed in seeds if shape == "poisson" else seeds[:1]:
                            found = bench.open_loop(address, kind, shape, rate_hz, seed)
                            row = {**told, "shape": shape, "rate": rate, "seed": seed, **_rounded(found)}
                            net["cells"].append(row)
                            print(_line(name, row), flush=True)
            keep(net)

        seeds = range(1, options.seeds + 1)
        for policy in options.policies:
            kind = ours(export, policy, asked_ms)
            cells(kind, {"server": policy, "limit": None}, seeds, options.shapes)
        for other in options.others if options.peers else ():
            for stage in (len(own["stage_ms"]), 1):
                for limit in PEERS[other]:
                    value = limit * deadline_ms / 1000 if other == "litserve" else limit
                    kind = peer(other, export, stage, value, options.peers)
                    told = {"server": f"{other} {'full' if stage > 1 else 'stage 1'}", "limit": value}
                    try:
                        cells(kind, told, seeds[:1], ("poisson",))
                    except RuntimeError as error:
                        print(f"{name} {other}: {error}", flush=True)
        return net


def _null(bench: Bench, top_hz: float) -> dict[str, Any]:
    """The generator against a handler that does nothing, at 1.5 times the top rate."""
    command = (sys.executable, str(HERE / "null_server.py"), "0")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        os.sched_setaffinity(process.pid, {SERVER_CORE})
        assert process.stdout is not None
        address = "127.0.0.1", int(process.stdout.readline())
        kind = Kind("null", (), {}, False, "/")
        intended = SHAPES["poisson"](1.5 * top_hz, bench.seconds, 0)
        run, labels = bench.drive(address, kind, intended, 0)
    finally:
        process.kill()
        process.wait()
    found = score(run, labels, bench.deadline_s)
    sustained = found.in_time >= 0.99 and found.counts
    return {
        "rate_hz": round(1.5 * top_hz, 1),
        "in_time": round(found.in_time, 4),
        "p99_ms": round(found.p99_ms, 3),
        "lag_ms": round(found.lag_ms, 3),
        "most_lag_ms": round(1000 * MOST_LAG * bench.deadline_s, 3),
        "sustained": sustained,
    }


def _own(export: Path, images: Path, work: Path) -> dict[str, Any]:
    out = work / "own.json"
    command = ("taskset", "-c", str(SERVER_CORE), sys.executable, str(HERE / "own.py"))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        (*command, str(export), str(images), str(out)), env=environment, start_new_session=True
    )
    settle(process.pid, SERVER_CORE)
    if process.wait():
        raise RuntimeError("own.py failed")
    own: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return own


def _images(path: Path) -> Images:
    with np.load(path) as kept:
        joined, ends = kept["joined"].tobytes(), [int(end) for end in kept["ends"]]
        contents = [joined[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        return Images(contents, [str(label) for label in kept["labels"]])


def _rounded(found: Score) -> dict[str, Any]:
    """For JSON, which has no NaN: where nothing was answered there is no latency."""
    told = {
        key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(found).items()
    }
    return {key: None if value != value else value for key, value in told.items()}


def _line(net: str, row: dict[str, Any]) -> str:
    left_out = ("refused", "late", "failed")
    return net + " " + " ".join(f"{key}={value}" for key, value in row.items() if key not in left_out)


def _priority() -> tuple[str, ...]:
    """Real time if it may be had: a generator that waits for its core is late."""
    for command in (("chrt", "-f", "20"), ("nice", "-n", "-5")):
        if (
            shutil.which(command[0])
            and subprocess.run((*command, "true"), capture_output=True).returncode == 0
        ):
            return command
    return ()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, metavar="MODELS")
    parser.add_argument("--peers", type=Path, metavar="PACKAGES", help="other servers; none by default")
    parser.add_argument("--nets", nargs="+", help="folders in MODELS; all that are there")
    parser.add_argument("--policies", nargs="*", default=list(POLICIES))
    parser.add_argument("--others", nargs="*", default=list(PEERS))
    parser.add_argument("--shapes", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a run")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    found = sorted(path.parent.name for path in options.models.glob("*/export.json"))
    options.nets = options.nets or found
    options.priority = _priority()
    return options


def main() -> None:
    """Measures and writes; what was measured of other nets at this commit stays."""
    from anytimenet.core.files.writing import write_json
    from anytimenet.core.manifest.machine import machine_stamp

    options = _options()
    stamp = machine_stamp({})
    head = {
        "benchmark": "serving/load",
        "commit": commit(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": stamp,
        "seeds": options.seeds,
        "seconds": options.seconds,
        "margin_ms": MARGIN_MS,
        "server": f"core {SERVER_CORE}, nice {PRIORITY}, one engine thread",
        "generator": f"core {GENERATOR_CORE}, {' '.join(options.priority) or 'usual priority'}",
    }
    path = place(options.out, NAME, head["commit"], stamp["id"])
    nets: dict[str, Any] = {}
    if path.exists():
        nets = {net["net"]: net for net in json.loads(path.read_text(encoding="utf-8"))["nets"]}

    def keep(net: dict[str, Any]) -> None:
        nets[net["net"]] = net
        rows = [row for each in nets.values() for row in table(each)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**head, "nets": list(nets.values()), "rows": rows})

    for name in options.nets:
        measure(name, options, keep)
    for net in nets.values():
        for row in table(net):
            print(row)


def table(net: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a server, shape and rate: means over seeds that count, peers with their best limit."""
    rows = []
    groups: dict[tuple[str, str, str], dict[Any, list[dict[str, Any]]]] = {}
    for cell in net["cells"]:
        if cell["counts"]:
            key = cell["server"], cell["shape"], cell["rate"]
            groups.setdefault(key, {}).setdefault(cell["limit"], []).append(cell)
    for (server, shape, rate), limits in groups.items():
        best = max(limits, key=lambda limit: np.mean([cell["useful"] for cell in limits[limit]]))
        chosen = limits[best]
        keys = ("useful", "in_time", "accuracy", "refused", "late", "failed", "p50_ms", "p99_ms")
        means = {key: _mean([cell[key] for cell in chosen]) for key in keys}
        what = f"{net['net']}, {server}, {shape} {rate}"
        head = {"what": what, "server": server, "shape": shape, "rate": rate, "limit": best}
        rows.append({**head, **means, "seeds": len(chosen)})
    return rows


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 4) if known else None


if __name__ == "__main__":
    main()
