"""MSDNet in units of the same net written straightforwardly, and the first exit's share of its time."""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from nets.plain_msdnet import PlainMSDNet, copy_weights
from timing import Times, Work, fresh, interleave
from torch import Tensor, nn

from anytimenet.costs import stage_costs
from anytimenet.nets import AnytimeNet, create_net

NAME = "nets-msdnet"
CLASSES = 100
TRAINING_BATCH = 64
CALLS = {1: 20, 64: 2}  # of a net in one timed round, by batch
WITHIN = 0.05  # of the first exit's share of multiply-adds

# What is compared: a row's name, our work, the straightforward one, the batch.
COMPARISONS: list[tuple[str, str, str, int]] = [
    ("all exits, batch 1", "ours, all exits", "plain, all exits", 1),
    ("all exits, batch 64", "ours, all exits", "plain, all exits", 64),
    ("last exit alone, batch 1", "ours, last exit", "plain, last exit", 1),
    ("last exit alone, batch 64", "ours, last exit", "plain, last exit", 64),
    ("training step, batch 64", "ours, training", "plain, training", TRAINING_BATCH),
]
BACKENDS = ("eager", "onnxruntime", "openvino")


def measure(rounds: int) -> dict[str, Any]:
    """Two tables: ours over straightforward, and the first exit over the last, by backend."""
    share = _share_of_macs()
    rows = []
    for what, one, other, batch in COMPARISONS:
        print(f"  {what} ..", flush=True)
        times: Times = fresh(_compare, one, other, batch, rounds)
        row = {"what": f"ours / straightforward: {what}", **times.ratio(one, other), "reach": 1.0}
        rows.append({**row, **_milliseconds(times, one, other, CALLS[batch])})
    for backend in BACKENDS:
        what = f"first exit / last exit, batch 1, {backend}"
        if not _is_installed(backend):
            rows.append({"what": f"{what}: not installed"})
            continue
        print(f"  {what} ..", flush=True)
        times = fresh(_first_and_last, backend, rounds)
        row = {"what": what, **times.ratio("first", "last"), "reach": round(share + WITHIN, 3)}
        rows.append({**row, **_milliseconds(times, "first", "last", CALLS[1])})
    return {"net": "msdnet_cifar_7", "share_of_macs": round(share, 4), "rows": rows}


def _compare(one: str, other: str, batch: int, rounds: int) -> Times:
    ours, plain = _ours(), PlainMSDNet(CLASSES).eval()
    copy_weights(ours, plain)
    x = _images(batch)
    _check_equal(ours, plain, x)
    segment = ours.segment(0, ours.num_stages, last=True)
    for part in segment.children():  # the segment itself refuses to be converted
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours, plain = (net.to(memory_format=torch.channels_last) for net in (ours, plain))
    works: dict[str, Callable[[], Work]] = {
        "ours, all exits": lambda: _inference(lambda: ours(x), CALLS[batch]),
        "plain, all exits": lambda: _inference(lambda: plain(x), CALLS[batch]),
        "ours, last exit": lambda: _inference(lambda: segment((x,)), CALLS[batch]),
        "plain, last exit": lambda: _inference(lambda: plain(x, last=True), CALLS[batch]),
        "ours, training": lambda: _training(ours, lambda: [logits for (logits,) in ours(x)], CALLS[batch]),
        "plain, training": lambda: _training(plain, lambda: plain(x), CALLS[batch]),
    }
    return interleave({name: works[name]() for name in (one, other)}, rounds)


def _first_and_last(backend: str, rounds: int) -> Times:
    net, x = _ours(), _images(1)
    stages = {"first": 1, "last": net.num_stages}
    with tempfile.TemporaryDirectory() as folder:
        calls = {
            name: _RUNNERS[backend](net.segment(0, stage, last=True), x, Path(folder) / f"{name}.onnx")
            for name, stage in stages.items()
        }
        for name, stage in stages.items():
            with torch.inference_mode():
                ((truth,),) = net(x, (stage,))
            torch.testing.assert_close(torch.as_tensor(calls[name]()), truth, rtol=1e-3, atol=1e-3)
        return interleave({name: _inference(call, CALLS[1]) for name, call in calls.items()}, rounds)


def _eager(segment: nn.Module, x: Tensor, path: Path) -> Callable[[], Any]:
    segment = segment.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return lambda: segment((x,))[0]


def _onnxruntime(segment: nn.Module, x: Tensor, path: Path) -> Callable[[], Any]:
    import onnxruntime

    _export(segment, x, path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x.numpy()}
    return lambda: session.run(None, feed)[0]


def _openvino(segment: nn.Module, x: Tensor, path: Path) -> Callable[[], Any]:
    import openvino

    _export(segment, x, path)
    config = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", config)
    image = x.numpy()
    return lambda: compiled(image)[0]


_RUNNERS = {"eager": _eager, "onnxruntime": _onnxruntime, "openvino": _openvino}


def _export(segment: nn.Module, x: Tensor, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the exporter's own making
        torch.onnx.export(segment, ((x,),), path, dynamo=True, verbose=False, external_data=False)


def _is_installed(backend: str) -> bool:
    return backend == "eager" or importlib.util.find_spec(backend) is not None


def _ours() -> AnytimeNet:
    return create_net("msdnet_cifar_7", CLASSES).eval()


def _images(batch: int) -> Tensor:
    return torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _share_of_macs() -> float:
    costs = stage_costs(_ours(), (3, 32, 32))
    return costs[0].macs / costs[-1].macs


def _check_equal(ours: AnytimeNet, plain: PlainMSDNet, x: Tensor) -> None:
    with torch.inference_mode():
        for (logits,), same in zip(ours(x), plain(x), strict=True):
            torch.testing.assert_close(logits, same)


def _inference(call: Callable[[], Any], times: int) -> Work:
    def work() -> None:
        with torch.inference_mode():
            for _ in range(times):
                call()

    return work


def _training(net: nn.Module, forward: Callable[[], list[Tensor]], times: int) -> Work:
    """Steps of plain SGD on the sum of all exits' losses."""
    net.train()
    labels = torch.randint(CLASSES, (TRAINING_BATCH,), generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)

    def work() -> None:
        for _ in range(times):
            optimiser.zero_grad(set_to_none=True)
            torch.stack([F.cross_entropy(logits, labels) for logits in forward()]).sum().backward()
            optimiser.step()

    return work


def _milliseconds(times: Times, one: str, other: str, calls: int) -> dict[str, float]:
    return {key: round(times.median_ms(name) / calls, 2) for key, name in (("ms", one), ("other_ms", other))}
