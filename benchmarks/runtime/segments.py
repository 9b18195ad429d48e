"""Whether segments take time in proportion to their work, by backend, and what stopping on the way costs."""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import Times, fresh, interleave

from anytimenet.bundle import Bundle
from anytimenet.bundle.backends.eager import EagerBackend
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.segments import SegmentSpec
from anytimenet.export import export
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.registry import net_entry
from anytimenet.runtime import Backend, ExportedNet
from anytimenet.testing.net_under_test import redraw

NAME = "runtime-segments"
NETS = {"isresnext_47": (0.14, 1.25, 1.25), "isresnext_62_imagenet": (0.14, 1.0, 1.05)}
"""What is to be reached: stage 1, all steps, and the worst stop on the way, each over the full pass."""
CALLS = {"isresnext_47": 8, "isresnext_62_imagenet": 1}
"""Of a path in one timed round."""
FULL_OVER_EAGER = 0.5
BACKENDS = ("eager", "onnxruntime", "openvino")

Segments = tuple[tuple[int, int], ...]


def measure(rounds: int) -> dict[str, Any]:
    """For each net and backend the ratios of paths to the full pass; the folder's size and the memory."""
    rows: list[dict[str, Any]] = []
    about: dict[str, Any] = {}
    for name in NETS:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / name
            print(f"  {name}: export ..", flush=True)
            specs = fresh(_export, name, folder)
            about[name] = _sizes(folder, specs)
            for backend in BACKENDS:
                print(f"  {name}: {backend} ..", flush=True)
                times: Times = fresh(_compare, name, folder, backend, rounds)
                rows += _rows(name, backend, times, net_entry(name).input_shape[1])
                if backend != "eager":
                    over = _over_weights(fresh(_memory, folder, backend), specs)
                    rows.append({"what": f"{name}, {backend}: memory of all steps over the weights", **over})
    return {"nets": about, "rows": rows}


def _export(name: str, folder: Path) -> tuple[SegmentSpec, ...]:
    stages = range(1, (net := _net(name)).num_stages + 1)
    pairs = {(k - 1, k) for k in stages} | {(0, k) for k in stages} | {(k - 1, stages[-1]) for k in stages}
    channels, height, width = net_entry(name).input_shape
    look = Preprocessing(height, width, channels, (0.5,) * channels, (0.5,) * channels)
    classes = [[f"class {i}" for i in range(count)] for count in net.num_classes]
    export(Bundle.create(net, class_names=classes, preprocessing=look), folder, segments=sorted(pairs))
    return ExportedNet.load(folder).segment_specs


def _compare(name: str, folder: Path, backend: str, rounds: int) -> Times:
    """Every path, and the two ways of eager PyTorch, in turn."""
    net = _net(name)
    eager = EagerBackend(net, input_shape=net_entry(name).input_shape)
    under_test: Backend = eager if backend == "eager" else ExportedNet.load(folder, backend=backend).backend
    x = np.random.default_rng(0).standard_normal((1, *net_entry(name).input_shape), dtype=np.float32)
    stages = net.num_stages
    paths: dict[str, Segments] = {"full": ((0, stages),), "steps": tuple((k, k + 1) for k in range(stages))}
    paths |= {f"stage {k}": ((0, k),) for k in range(1, stages)}
    paths |= {f"by {k}": ((0, k), (k, stages)) for k in range(1, stages)}
    works = {key: _run(under_test, path, x) for key, path in paths.items()}
    works["eager segment"] = _run(eager, paths["full"], x)
    works["eager forward"] = _forward(net, x)
    _check(works["full"], works["eager forward"])
    return interleave({key: _often(work, CALLS[name]) for key, work in works.items()}, rounds)


def _run(backend: Backend, path: Segments, x: np.ndarray) -> Callable[[], np.ndarray]:
    def work() -> np.ndarray:
        state = backend.begin(x)
        for start, stop in path:
            state, output = backend.run(start, stop, state)
        backend.release(state)
        return output[0]

    return work


def _forward(net: AnytimeNet, x: np.ndarray) -> Callable[[], np.ndarray]:
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    image = torch.from_numpy(x).to(memory_format=torch.channels_last)

    def work() -> np.ndarray:
        with torch.inference_mode():
            logits: np.ndarray = net(image, (net.num_stages,))[0][0].numpy()
        return logits

    return work


def _rows(name: str, backend: str, times: Times, side: int) -> list[dict[str, Any]]:
    first, steps, worst = NETS[name]
    on_the_way = {key: times.ratio(key, "full") for key in times.cpu if key.startswith("by ")}
    slowest = max(on_the_way, key=lambda key: on_the_way[key]["ratio"])
    rows = [
        {"what": "stage 1 over the full pass", **times.ratio("stage 1", "full"), "reach": first},
        {"what": "all steps over the full pass", **times.ratio("steps", "full"), "reach": steps},
        {"what": f"worst stop on the way ({slowest})", **on_the_way[slowest], "reach": worst},
    ]
    if backend != "eager":
        eager = min(("eager segment", "eager forward"), key=times.median_ms)
        reach = {"reach": FULL_OVER_EAGER} if side == 32 else {}
        rows.append({"what": f"full pass over {eager}", **times.ratio("full", eager), **reach})
    curve = [ratio["ratio"] for ratio in on_the_way.values()]
    rows[2]["by 1, 2, .."] = " ".join(map(str, curve))
    full = {"full_ms": round(times.median_ms("full") / CALLS[name], 2)}
    return [{**row, "what": f"{name}, {backend}: {row['what']}", **full} for row in rows]


def _memory(folder: Path, backend: str) -> int:
    """Bytes that this process grows by when all steps but the first are prepared."""
    net = ExportedNet.load(folder, backend=backend)
    net.backend.prepare(0, 1)  # brings the engine itself
    before = _resident()
    for stage in range(2, net.num_stages + 1):
        net.backend.prepare(stage - 1, stage)
    return _resident() - before


def _over_weights(grown: int, specs: tuple[SegmentSpec, ...]) -> dict[str, float]:
    """Without those of stage 1, which were there before."""
    steps = [spec.weight_bytes for spec in specs if spec.start == spec.stop - 1 and spec.start]
    over_mib = (grown - sum(steps)) / len(steps) / 2**20
    about = {"weights_mib": round(sum(steps) / 2**20, 2), "beside_mib_a_segment": round(over_mib, 2)}
    return {"ratio": round(grown / sum(steps), 2), "reach": 1.6, **about}


def _sizes(folder: Path, specs: tuple[SegmentSpec, ...]) -> dict[str, Any]:
    sizes = {file.name: file.stat().st_size for file in folder.rglob("*") if file.is_file()}
    weights = sum(size for name, size in sizes.items() if name.endswith(".safetensors"))
    return {
        "stages": max(spec.stop for spec in specs),
        "segments": len(specs),
        "folder_over_weights": round(sum(sizes.values()) / weights, 3),
        "share_of_macs": round(specs[0].macs / max(spec.macs for spec in specs), 4),
        "state_mib": round(max(spec.state_bytes for spec in specs) / 2**20, 2),
    }


def _net(name: str) -> AnytimeNet:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    return net


def _check(found: Callable[[], np.ndarray], wanted: Callable[[], np.ndarray]) -> None:
    np.testing.assert_allclose(found(), wanted(), rtol=1e-3, atol=1e-3 * float(np.abs(wanted()).max()))


def _often(work: Callable[[], object], calls: int) -> Callable[[], None]:
    def often() -> None:
        for _ in range(calls):
            work()

    return often


def _resident() -> int:
    """Bytes of memory, without what was freed and is kept for later."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
