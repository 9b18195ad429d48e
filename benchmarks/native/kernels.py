"""Each kernel of the native engine alone, beside torch, oneDNN, ncnn, and what the machine can do.

NCNN_PATH, a folder with the package `ncnn`, adds its rates; NATIVE_NETS takes some of the nets.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from native.layers import Layer, layers_of, work_of
from timing import Times, fresh, interleave

from anytimenet.native import library

NAME = "native-kernels"
NETS = {"isresnext_47": "grouped", "isresnext_62_imagenet": "grouped", "efficientnet_lite0": "depthwise"}
"""Nets, and the kind of which every shape is measured; of their products the largest ones."""
PRODUCTS = 3
REACH = {"grouped": 2.0, "product": 0.9}
"""Rate over that of torch's convolution, and over that of its matrix product."""
_MACS = 20e6
"""Of one measured call."""
_SMALL, _LARGE = 10_000, 24_000_000
"""Numbers of three vectors that the second cache holds, and of ones that no cache holds."""


def measure(rounds: int) -> dict[str, Any]:
    """Rates of each layer in each runtime; the peak and the bandwidths beside them."""
    rows, roofs = fresh(_measure, rounds)
    return {"instruction_sets": library.instruction_sets(), "roofs": roofs, "rows": rows}


def _measure(rounds: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    roofs = {f"{name} GFLOP/s": _peak(name) for name in library.instruction_sets()}
    roofs |= {"cache GB/s": _bandwidth(_SMALL), "memory GB/s": _bandwidth(_LARGE)}
    rows = []
    chosen = [name for name in os.environ.get("NATIVE_NETS", "").split(",") if name] or list(NETS)
    for net, kind in ((name, NETS[name]) for name in chosen):
        layers = layers_of(net)
        products = sorted((each for each in layers if each.kind == "product"), key=lambda each: -each.macs)
        stems = [each for each in layers if each.kind == "stem"]
        for layer in [each for each in layers if each.kind == kind] + products[:PRODUCTS] + stems:
            rows.append(_row(net, layer, rounds, roofs))
            print(f"  {rows[-1]}", flush=True)
    return rows, {key: round(value, 1) for key, value in roofs.items()}


def _row(net: str, layer: Layer, rounds: int, roofs: dict[str, float]) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    x = draw.standard_normal((layer.channels[0], *layer.size), dtype=np.float32)
    shape = (layer.channels[1], layer.channels[0] // layer.groups, layer.window, layer.window)
    weight = draw.standard_normal(shape, dtype=np.float32)
    repeats = max(1, round(_MACS / layer.macs))
    wanted = np.maximum(_torch(layer, x, weight, channels_last=False)()[0].numpy(), 0)
    works: dict[str, Callable[[], object]] = {}
    for name in library.instruction_sets():
        own = work_of(layer, x, weight, name, repeats)
        np.testing.assert_allclose(own.result(), wanted, rtol=0, atol=1e-4 * float(np.abs(wanted).max()))
        works[name] = own.run
    others = {
        "torch": _torch(layer, x, weight, channels_last=False),
        "torch, channels last": _torch(layer, x, weight, channels_last=True),
        "oneDNN": _onednn(layer, x, weight),
        "ncnn": _ncnn(layer, x, weight),
    }
    if layer.kind == "product":
        others["sgemm"] = _sgemm(x, weight)
    works |= {name: _often(work, repeats) for name, work in others.items() if work is not None}
    times = interleave(works, rounds, twice=True)
    return _told(net, layer, times, repeats, roofs)


def _told(net: str, layer: Layer, times: Times, repeats: int, roofs: dict[str, float]) -> dict[str, Any]:
    own = library.instruction_sets()[0]
    rival = (
        "sgemm" if layer.kind == "product" else min(("torch", "torch, channels last"), key=times.median_ms)
    )
    rates = {
        name: round(2e-9 * layer.macs * repeats / sorted(found)[len(found) // 2], 1)
        for name, found in times.cpu.items()
    }
    reach = {"reach": REACH[layer.kind]} if layer.kind in REACH else {}
    return {
        "what": f"{net}: {layer.kind}, {layer.name}",
        "kind": layer.kind,
        "intensity": round(2 * layer.macs / (4 * layer.numbers), 2),
        "rate over torch": times.ratio(rival, own)["ratio"],
        **reach,
        **{
            f"of peak, {name}": round(
                2e-9 * layer.macs * repeats / min(times.cpu[name]) / roofs[f"{name} GFLOP/s"], 2
            )
            for name in library.instruction_sets()
        },
        **{f"{name} GFLOP/s": rate for name, rate in rates.items()},
    }


def _often(work: Callable[[], object], count: int) -> Callable[[], None]:
    def often() -> None:
        for _ in range(count):
            work()

    return often


# ---- other libraries ----


def _torch(layer: Layer, x: np.ndarray, weight: np.ndarray, *, channels_last: bool) -> Callable[[], Any]:
    top, left, bottom, right = layer.pads
    image, kernel = F.pad(torch.from_numpy(x)[None], (left, right, top, bottom)), torch.from_numpy(weight)
    pads: tuple[int, int] = (0, 0)
    if top == bottom and left == right:
        image, pads = torch.from_numpy(x)[None], (top, left)
    if channels_last:
        image = image.to(memory_format=torch.channels_last)
        kernel = kernel.to(memory_format=torch.channels_last)

    def work() -> torch.Tensor:
        with torch.inference_mode():
            return F.conv2d(image, kernel, None, layer.stride, pads, 1, layer.groups)

    return work


def _onednn(layer: Layer, x: np.ndarray, weight: np.ndarray) -> Callable[[], Any] | None:
    """Image and weight in oneDNN's own layouts, so that nothing is reordered while it runs."""
    top, left, bottom, right = layer.pads
    if (top, left) != (bottom, right):
        return None
    image = torch.from_numpy(x)[None].to_mkldnn()
    kernel = torch._C._nn.mkldnn_reorder_conv2d_weight(
        torch.from_numpy(weight).to_mkldnn(), [top, left], [layer.stride] * 2, [1, 1], layer.groups
    )

    def work() -> Any:
        with torch.inference_mode():
            return torch.mkldnn_convolution(
                image, kernel, None, [top, left], [layer.stride] * 2, [1, 1], layer.groups
            )

    return work


def _sgemm(x: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    kernel, image = torch.from_numpy(weight[:, :, 0, 0].copy()), torch.from_numpy(x.reshape(len(x), -1))
    out = torch.empty(len(weight), image.shape[1])

    def work() -> Any:
        with torch.inference_mode():
            return torch.mm(kernel, image, out=out)

    return work


def _ncnn(layer: Layer, x: np.ndarray, weight: np.ndarray) -> Callable[[], Any] | None:
    if "NCNN_PATH" not in os.environ:
        return None
    sys.path.append(os.environ["NCNN_PATH"])
    import ncnn  # type: ignore[import-not-found]

    top, left, bottom, right = layer.pads
    kind = "Convolution" if layer.groups == 1 else "ConvolutionDepthWise"
    pads = f"4={left} 14={top} 15={right} 16={bottom}"
    settings = f"0={layer.channels[1]} 1={layer.window} 3={layer.stride} {pads} 5=0 6={weight.size}"
    groups = f" 7={layer.groups}" if layer.groups > 1 else ""
    text = f"7767517\n2 2\nInput in 0 1 in\n{kind} conv 1 1 in out {settings}{groups}\n"
    net = ncnn.Net()
    net.opt.num_threads, net.opt.use_vulkan_compute = 1, False
    net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = net.opt.use_bf16_storage = False
    net.opt.use_fp16_packed = False
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "net.param").write_text(text)
        (Path(place) / "net.bin").write_bytes(b"\0\0\0\0" + weight.tobytes())
        net.load_param(str(Path(place) / "net.param"))
        net.load_model(str(Path(place) / "net.bin"))
    image = ncnn.Mat(x).clone()

    def work() -> Any:
        extractor = net.create_extractor()
        extractor.input("in", image)
        return extractor.extract("out")[1]

    wanted = _torch(layer, x, weight, channels_last=False)()[0].numpy()
    np.testing.assert_allclose(np.array(work()), wanted, rtol=0, atol=1e-3 * float(np.abs(wanted).max()))
    return work


# ---- what the machine can do ----


def _peak(instruction_set: str) -> float:
    """GFLOP/s of multiply-adds that wait for nothing."""
    best = 0.0
    for _ in range(40):
        begun = time.process_time()
        count = library.library().anytime_multiply(instruction_set.encode(), 200_000)
        best = max(best, count / (time.process_time() - begun))
    return 2e-9 * best


def _bandwidth(count: int) -> float:
    """GB/s that a sum of two vectors of `count` numbers reads and writes."""
    one, other, out = (np.ones(count, np.float32) for _ in range(3))
    calls, best = max(1, 2_000_000 // count), 0.0
    for _ in range(10):
        begun = time.process_time()
        for _ in range(calls):
            np.add(one, other, out=out)
        best = max(best, 12 * count * calls / (time.process_time() - begun))
    return 1e-9 * best
