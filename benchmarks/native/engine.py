"""The native engine beside other runtimes, and beside what the processor can do at most."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Times, fresh, interleave

from anytimenet.bundle import Bundle
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.export import export
from anytimenet.native import library
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.registry import net_entry
from anytimenet.runtime import Backend, ExportedNet
from anytimenet.runtime.backends.native import Native
from anytimenet.testing.net_under_test import redraw

NAME = "native-engine"
NETS = ("isresnext_47", "iresnext_65")
OTHERS = ("openvino", "onnxruntime", "eager")
REACH: dict[str, dict[str, float]] = {
    "isresnext_47": {"openvino": 0.60, "onnxruntime": 0.42, "eager": 0.30, "share": 0.02},
    "efficientnet_lite0": {"best": 1.0, "stage 1": 0.25},
    "isresnext_62_imagenet": {"best": 0.85},
    "iresnext_65": {"openvino": 0.85},
}
"""Full pass over others', and how far a share of the latency may be from that of the multiply-adds."""
CALLS = {"isresnext_47": 8, "iresnext_65": 2}
PEAK = {"avx512": 0.8, "avx2": 0.65}
TWO_UNITS = 0.6
"""Share of the multiply-adds that the processor can do, in the CIFAR form; less with two 512-bit units."""
_ROUNDS = 2_000_000


def measure(rounds: int) -> dict[str, Any]:
    """For each net the full pass over those of others, shares of stages, and the share of the peak.

    NATIVE_NETS, words with commas between, takes some of the nets.
    """
    return measure_nets(NETS, rounds)


def measure_nets(nets: Sequence[str], rounds: int) -> dict[str, Any]:
    """Of these nets, or of those that NATIVE_NETS takes of them."""
    rows: list[dict[str, Any]] = []
    chosen = [name for name in os.environ.get("NATIVE_NETS", "").split(",") if name] or list(nets)
    for name in chosen:
        with tempfile.TemporaryDirectory() as place:
            print(f"  {name}: export ..", flush=True)
            macs = fresh(export_both, name, Path(place))
            print(f"  {name}: run ..", flush=True)
            times, rates = fresh(_compare, name, Path(place), rounds, macs[-1])
            rows += _rows(name, times, macs) + rates
    return {"instruction_sets": library.instruction_sets(), "rows": rows}


def export_both(name: str, place: Path) -> list[int]:
    """Writes `native` and `onnx` below `place`; multiply-adds of each sub-network."""
    net = _net(name)
    stages = range(1, net.num_stages + 1)
    channels, height, width = net_entry(name).input_shape
    look = Preprocessing(height, width, channels, (0.5,) * channels, (0.5,) * channels)
    classes = [[f"class {i}" for i in range(count)] for count in net.num_classes]
    bundle = Bundle.create(net, class_names=classes, preprocessing=look)
    export(bundle, place / "native", format="native")
    export(bundle, place / "onnx", segments=[(0, net.num_stages)])
    specs = {(spec.start, spec.stop): spec.macs for spec in ExportedNet.load(place / "native").segment_specs}
    return [specs[0, stage] for stage in stages]


def _compare(name: str, place: Path, rounds: int, macs: int) -> tuple[Times, list[dict[str, Any]]]:
    net = _net(name)
    x = np.random.default_rng(0).standard_normal((1, *net_entry(name).input_shape), dtype=np.float32)
    stages, source = net.num_stages, ExportedNet.load(place / "native")
    works: dict[str, Callable[[], np.ndarray]] = {}
    for instruction_set in library.instruction_sets():
        engine = Native(source, instruction_set=instruction_set)
        works[instruction_set] = _run(engine, [(0, stages)], x)
    own = source.backend
    works |= {f"stage {k}": _run(own, [(0, k)], x) for k in range(1, stages + 1)}
    works["steps"] = _run(own, [(k, k + 1) for k in range(stages)], x)
    for other in OTHERS[:2]:
        works[other] = _run(ExportedNet.load(place / "onnx", backend=other).backend, [(0, stages)], x)
    works["eager"] = _forward(net, x)
    wanted = works["eager"]()
    for key in (*library.instruction_sets(), *OTHERS[:2]):
        np.testing.assert_allclose(works[key](), wanted, rtol=0, atol=1e-3 * float(np.abs(wanted).max()))
    calls = CALLS.get(name, 1)
    times = interleave({key: _often(work, calls) for key, work in works.items()}, rounds, twice=True)
    return times, [
        _rate(name, each, min(times.cpu[each]) / calls, macs) for each in library.instruction_sets()
    ]


def _rate(name: str, instruction_set: str, seconds: float, macs: int) -> dict[str, Any]:
    """Multiply-adds a second over the most that there are, measured now."""
    best = _most(instruction_set)
    wanted = PEAK.get(instruction_set)
    if instruction_set == "avx512" and best > 1.5 * _most("avx2"):
        wanted = TWO_UNITS
    return {
        "what": f"{name}, {instruction_set}: share of the multiply-adds that the processor can do",
        "ratio": round(macs / seconds / best, 3),
        "peak_gflops": round(2e-9 * best, 1),
        "gflops": round(2e-9 * macs / seconds, 1),
        **({"reach": wanted} if name == "isresnext_47" and wanted is not None else {}),
    }


def _most(instruction_set: str) -> float:
    """Multiply-adds a second that wait for nothing."""
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        count = library.library().anytime_multiply(instruction_set.encode(), _ROUNDS)
        best = max(best, count / (time.process_time() - begun))
    return best


def _rows(name: str, times: Times, macs: list[int]) -> list[dict[str, Any]]:
    stages, reach, calls = len(macs), REACH[name], CALLS.get(name, 1)
    full = f"stage {stages}"
    rows = []
    fastest = min(OTHERS, key=times.median_ms)
    for other in OTHERS:
        wanted = reach.get(other, reach.get("best") if other == fastest else None)
        told = {} if wanted is None else {"reach": wanted}
        ms = {
            "ms": round(times.median_ms(full) / calls, 3),
            "other_ms": round(times.median_ms(other) / calls, 3),
        }
        rows.append({"what": f"{name}: full network over {other}", **times.ratio(full, other), **told, **ms})
    shares = {k: (times.ratio(f"stage {k}", full)["ratio"], macs[k - 1] / macs[-1]) for k in range(1, stages)}
    if shares:
        worst = max(shares, key=lambda k: abs(shares[k][0] - shares[k][1]))
        told = {"reach": reach["share"]} if "share" in reach else {}
        rows.append(
            {
                "what": f"{name}: share of the latency less that of the multiply-adds (stage {worst})",
                "ratio": round(shares[worst][0] - shares[worst][1], 3),
                **told,
                "shares": " ".join(f"{one:.3f}/{other:.3f}" for one, other in shares.values()),
            }
        )
        first = {"reach": reach["stage 1"]} if "stage 1" in reach else {}
        rows.append(
            {"what": f"{name}: stage 1 over the full network", **times.ratio("stage 1", full), **first}
        )
    rows.append(
        {"what": f"{name}: all steps with their heads over the full network", **times.ratio("steps", full)}
    )
    return rows


def _run(backend: Backend, path: list[tuple[int, int]], x: np.ndarray) -> Callable[[], np.ndarray]:
    def work() -> np.ndarray:
        state = backend.begin(x)
        for start, stop in path:
            state, output = backend.run(start, stop, state)
        backend.release(state)
        return output[0]

    return work


def _forward(net: AnytimeNet, x: np.ndarray) -> Callable[[], np.ndarray]:
    segment = net.snapshot().prepare(merge=True).segment(0, net.num_stages, last=True)
    image = torch.from_numpy(x).to(memory_format=torch.channels_last)
    segment = segment.eval()

    def work() -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = segment((image,))[0].numpy()
        return logits

    return work


def _net(name: str) -> AnytimeNet:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    return net


def _often(work: Callable[[], object], calls: int) -> Callable[[], None]:
    def often() -> None:
        for _ in range(calls):
            work()

    return often
