"""Useful goodput under load: our policies and other servers around the same engine, on one core.

    python benchmarks/serving/load.py MODELS [--peers PACKAGES] [--parts PART ...] [--docs]

MODELS is what `prepare.py` made; PACKAGES holds folders `litserve`, `bentoml` and `ray` that `pip install
--target` filled. The server has one core (the last), the generator another (the first). Writes
`results/serving-load/<commit>-<machine>.json` after every run, and with `--docs` the tables and the figure of
`docs/concepts/load.md`. Servers run at a nice value below 0 and the generator with a real-time priority where
this machine allows it; the result says what it was. Servers of one part are all up, and take turns run by
run, so that a machine that changes is the same for everybody. `--short` makes every run half a second long:
to see that everything works.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from history import commit, place
from serving.bench import (
    GENERATOR_CORE,
    HERE,
    SERVER_CORE,
    TIMES_FULL,
    Bench,
    images_in,
    null_run,
    own_of,
)
from serving.goodput import Score
from serving.servers import PEERS, POLICIES, PRIORITY, Kind, ours, peer, running
from serving.summary import put_between, table, tables_of

NAME = "serving-load"
RATES = {
    "0.5 full": ("full", 0.5),
    "1.5 full": ("full", 1.5),
    "0.5 C1": ("first", 0.5),
    "0.8 C1": ("first", 0.8),
    "1.5 C1": ("first", 1.5),
}
SHORTEST_MS = 25.0
"""A deadline is so many times the full net's own time, and not shorter."""
MARGIN_MS = 1.0
"""What the client keeps back of its deadline for the way to the server and back."""
PROFILED_MINUTES = 0.15
SHORT_S = 0.5
DOCUMENT = HERE.parents[1] / "docs" / "concepts" / "load.md"
FIGURE = HERE.parents[1] / "docs" / "pictures" / "serving_load.png"


@dataclass(frozen=True)
class Part:
    """Runs of one net that belong together.

    Attributes:
        net: a folder in MODELS.
        policies: of our server.
        rates: names in RATES.
        shape: of the load.
        seeds: paired: every server gets the same requests at the same instants.
        seconds: of a run.
        peers: others that run instead, with the full net and with stage 1, and each limit of their queues.
        deadline_ms: of each request; None for so many times the full net's own time, and no less than that.
    """

    net: str
    policies: tuple[str, ...] = POLICIES
    rates: tuple[str, ...] = tuple(RATES)
    shape: str = "poisson"
    seeds: int = 1
    seconds: float = 2.0
    peers: tuple[str, ...] = ()
    deadline_ms: float | None = None


FEW = ("anytime", "edgeserving", "stage_1", "full_or_refuse")
PARTS = {
    "main": Part("efficientnet_lite0_112", seeds=3, seconds=4.0),
    "longer": Part("efficientnet_lite0_112", seeds=2, seconds=4.0, deadline_ms=2 * SHORTEST_MS),
    "bursts": Part("efficientnet_lite0_112", FEW, ("0.5 full", "0.5 C1"), "bursts", seconds=4.0),
    "diurnal": Part("efficientnet_lite0_112", FEW, ("0.5 C1",), "diurnal", seconds=6.0),
    "224": Part("efficientnet_lite0_224", FEW),
    "isresnext": Part("isresnext_47", FEW),
    "peers": Part("efficientnet_lite0_112", peers=tuple(PEERS)),
    "peers_224": Part("efficientnet_lite0_224", peers=("bentoml", "litserve")),
    "peers_isresnext": Part("isresnext_47", peers=("bentoml", "litserve")),
}
PEER_RATES = {"full": ("0.5 full", "1.5 full", "0.8 C1"), "stage 1": ("1.5 full", "0.8 C1", "1.5 C1")}


class Net:
    """One net of MODELS: measured alone once, then part by part.

    Args:
        name: its folder.
        options: of the command.
        work: a folder for plans.
        deadline_ms: as a part has it.
    """

    def __init__(
        self, name: str, options: argparse.Namespace, work: Path, deadline_ms: float | None = None
    ) -> None:
        self.export, self.options = options.models / name, options
        images_file = options.models / "images.npz"
        _profile(self.export)
        own = own_of(self.export, images_file, work)
        self.images, self.stages = images_in(images_file), len(own["stage_ms"])
        usual_ms = max(SHORTEST_MS, 5 * round(TIMES_FULL * own["stage_ms"][-1] / 5))
        self.deadline_ms = usual_ms if deadline_ms is None else deadline_ms
        self.bench = Bench(self.images, self.deadline_ms / 1000, 2.0, work, options.priority)
        told = np.array(own["labels"])
        right = (told == np.array(self.images.labels)[:, None]).mean(axis=0)
        self.told: dict[str, Any] = {
            "net": name if deadline_ms is None else f"{name}, {deadline_ms:g} ms",
            "deadline_ms": self.deadline_ms,
            "own_ms": [round(each, 3) for each in own["stage_ms"]],
            "prepare_ms": round(own["prepare_ms"], 3),
            "stage_accuracy": [round(float(each), 4) for each in right],
            "cells": [],
        }
        self._saturate(own["stage_ms"])
        self.rates = {key: share * self.told[f"{of}_hz"] for key, (of, share) in RATES.items()}
        self.told["null"] = null_run(self.bench, max(self.rates.values()))
        print(json.dumps({key: value for key, value in self.told.items() if key != "cells"}), flush=True)

    def _saturate(self, stage_ms: list[float]) -> None:
        """What the server can bear of the full net and of stage 1, and what it adds to the net's time."""
        for key, policy, each in (("full", "full", stage_ms[-1]), ("first", "stage_1", stage_ms[0])):
            kind = ours(self.export, policy, 60_000)
            with running(kind, self.images.contents[0], SERVER_CORE) as address:
                hz = [self.bench.saturation_hz(address, kind, 1000 / (each + 1)) for _ in range(3)]
                self.told[f"{key}_hz"] = round(float(np.median(hz)), 1)
                self.told[f"{key}_alone_ms"] = round(self.bench.alone_ms(address, kind), 3)
        kind = ours(self.export, "anytime", 1000)
        with running(kind, self.images.contents[0], SERVER_CORE) as address:
            found = self.bench.overheads_ms(address, kind, self.told["prepare_ms"])
        self.told["overhead_ms"] = round(float(np.median(found)), 3)

    def run(self, part: Part, keep: Any) -> None:
        """Our servers, all up, turn by turn."""
        asked_ms = self.deadline_ms - MARGIN_MS
        kinds = [ours(self.export, policy, asked_ms) for policy in part.policies]
        with ExitStack() as stack:
            up = [(kind, stack.enter_context(self._up(kind))) for kind in kinds]
            for rate in part.rates:
                for seed in range(1, part.seeds + 1):
                    turns = up if seed % 2 else up[::-1]
                    for kind, address in turns:
                        self._cell(part, kind, address, rate, seed, {"server": kind.name, "limit": None})
                keep()

    def run_peers(self, part: Part, keep: Any) -> None:
        """Others one after the other, for some take the memory of many; each limit of their queues."""
        wanted = [other for other in part.peers if other in self.options.others]
        for other in wanted if self.options.peers else ():
            for stage, said in ((self.stages, "full"), (1, "stage 1")):
                for limit in PEERS[other]:
                    value = limit * self.deadline_ms / 1000 if other == "litserve" else limit
                    kind = peer(other, self.export, stage, value, self.options.peers)
                    told = {"server": f"{other} {said}", "limit": value}
                    try:
                        with self._up(kind) as address:
                            for rate in PEER_RATES[said]:
                                self._cell(part, kind, address, rate, 1, told)
                    except RuntimeError as error:
                        print(f"{self.told['net']} {other}: {error}", flush=True)
                    keep()

    def _up(self, kind: Kind) -> Any:
        return running(kind, self.images.contents[0], SERVER_CORE)

    def _cell(
        self, part: Part, kind: Kind, address: tuple[str, int], rate: str, seed: int, told: dict[str, Any]
    ) -> None:
        bench = self.bench.lasting(SHORT_S if self.options.short else part.seconds)
        found = bench.open_loop(address, kind, part.shape, self.rates[rate], seed)
        row = {**told, "shape": part.shape, "rate": rate, "seed": seed, **_rounded(found)}
        same = ("server", "limit", "shape", "rate", "seed")
        cells = [cell for cell in self.told["cells"] if any(cell[key] != row[key] for key in same)]
        self.told["cells"] = [*cells, row]
        print(_line(self.told["net"], row), flush=True)


def _profile(export: Path) -> None:
    """Its latencies on this machine as it is today, on the core of the servers."""
    command = (sys.executable, "-m", "anytimenet.runtime", "profile", str(export))
    pinned = ("taskset", "-c", str(SERVER_CORE), *command, "--minutes", str(PROFILED_MINUTES))
    subprocess.run(pinned, check=True, stdout=subprocess.DEVNULL)


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
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--others", nargs="*", default=list(PEERS), help="which of them")
    parser.add_argument("--short", action="store_true", help="runs of half a second")
    parser.add_argument("--docs", action="store_true", help="write the tables and the figure, too")
    parser.add_argument("--out", type=Path, default=HERE.parent / "results")
    options = parser.parse_args()
    options.priority = _priority()
    return options


def main() -> None:
    """Measures part by part, and writes after each; what was measured of other nets at this commit stays."""
    from anytimenet.core.files.writing import write_json
    from anytimenet.core.manifest.machine import machine_stamp

    options = _options()
    begun, stamp = time.monotonic(), machine_stamp({})
    head = {
        "benchmark": "serving/load",
        "commit": commit(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": stamp,
        "short": options.short,
        "margin_ms": MARGIN_MS,
        "server": f"core {SERVER_CORE}, nice {PRIORITY}, one engine thread",
        "generator": f"core {GENERATOR_CORE}, {' '.join(options.priority) or 'usual priority'}",
    }
    path = place(options.out, NAME, head["commit"], stamp["id"])
    told: dict[str, Any] = {}
    if path.exists():
        told = {net["net"]: net for net in json.loads(path.read_text(encoding="utf-8"))["nets"]}

    def keep() -> None:
        told.update({net.told["net"]: net.told for net in nets.values()})
        rows = [row for each in told.values() for row in table(each)]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**head, "nets": list(told.values()), "rows": rows})

    nets: dict[tuple[str, float | None], Net] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.parts:
            part = PARTS[name]
            key = part.net, part.deadline_ms
            if key not in nets:
                nets[key] = Net(part.net, options, Path(folder), part.deadline_ms)
            (nets[key].run_peers if part.peers else nets[key].run)(part, keep)
            print(f"{name}: {time.monotonic() - begun:.0f} s so far", flush=True)
    result = json.loads(path.read_text(encoding="utf-8"))
    text = tables_of(result, tuple(RATES))
    print(text)
    if options.docs:
        from serving.picture import draw

        put_between(DOCUMENT, text)
        net = result["nets"][0]
        rows = [row for row in table(net) if row["shape"] == "poisson"]
        draw(net, rows, FIGURE)


if __name__ == "__main__":
    main()
