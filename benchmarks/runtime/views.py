"""Eager segments by how their weights lie: copies of their own, views, contiguous, with folded norms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from timing import Times, Work, fresh, interleave
from torch import Tensor, nn

from anytimenet.bundle.backends.memory import covered, spans_of
from anytimenet.bundle.backends.states import Layout
from anytimenet.layers.snapshots import tensors_of
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.nets.registry import net_entry

NAME = "runtime-views"
NETS = ("isresnext_47", "iresnext_65", "slimmable_small", "msdnet_cifar_7")
FORMS = ("own", "views", "contiguous", "folded", "folded, channels_last", "merged, channels_last")
RUNS = ("first", "full", "steps")
CALLS = {"slimmable_small": 20}  # of a run in one timed round; of the large nets one
BASE = "folded"

Segments = dict[tuple[int, int], nn.Module]


def measure(rounds: int) -> dict[str, Any]:
    """One row a net and form: time of stage 1, of one full pass, and of all steps, over folded; bytes."""
    rows = []
    for name in NETS:
        print(f"  {name} ..", flush=True)
        times: Times = fresh(_times, name, rounds)
        sizes = fresh(_bytes, name)
        for form in FORMS:
            row: dict[str, Any] = {"net": name, "form": form}
            for run in RUNS:
                row[f"{run} / folded"] = times.ratio(f"{form} {run}", f"{BASE} {run}")["ratio"]
            row["first / full"] = times.ratio(f"{form} first", f"{form} full")["ratio"]
            row["steps / full"] = times.ratio(f"{form} steps", f"{form} full")["ratio"]
            row["full ms"] = round(times.median_ms(f"{form} full") / _calls(name), 2)
            rows.append({**row, **sizes[form]})
    return {"batch": 1, "rows": rows}


def _times(name: str, rounds: int) -> Times:
    net = create_net(name).eval()
    works: dict[str, Work] = {}
    for form in FORMS:
        segments = _segments(net, form, _used(net))
        layout = Layout("channels_last" in form)
        x = torch.randn(1, *net_entry(name).input_shape, generator=torch.Generator().manual_seed(0))
        state = (layout.of(x),)
        works[f"{form} first"] = _many(lambda s=segments[0, 1], z=state: s(z), _calls(name))
        works[f"{form} full"] = _many(lambda s=segments[0, net.num_stages], z=state: s(z), _calls(name))
        steps = [segments[stage - 1, stage] for stage in range(1, net.num_stages + 1)]
        works[f"{form} steps"] = _many(lambda s=steps, z=state: _through(s, z), _calls(name))
    return interleave(works, rounds)


def _bytes(name: str) -> dict[str, dict[str, float]]:
    """MiB of the weights of (0, 1), of (0, K), of all steps, and of every segment together."""
    net = create_net(name).eval()
    every = [(start, stop) for stop in range(1, net.num_stages + 1) for start in range(stop)]
    found = {}
    for form in FORMS:
        segments = _segments(net, form, every)
        steps = [segments[stage - 1, stage] for stage in range(1, net.num_stages + 1)]
        found[form] = {
            "first MiB": _mib([segments[0, 1]]),
            "full MiB": _mib([segments[0, net.num_stages]]),
            "steps MiB": _mib(steps),
            "every MiB": _mib(segments.values()),
        }
    return found


def _segments(net: AnytimeNet, form: str, pairs: Iterable[tuple[int, int]]) -> Segments:
    if form == "own":
        return {pair: net.segment(*pair) for pair in pairs}
    snapshot = net.snapshot()
    if form != "views":
        merge = "merged" in form  # on top of folding: what the eager backend does
        snapshot = snapshot.prepare(fold=merge or "folded" in form, contiguous=True, merge=merge)
    segments = {pair: snapshot.segment(*pair) for pair in pairs}
    if "channels_last" in form:
        layout = Layout(True)
        for weight in (weight for segment in segments.values() for weight in segment.parameters()):
            weight.data = layout.of(weight.data)
    return dict(segments)


def _used(net: AnytimeNet) -> set[tuple[int, int]]:
    steps = {(stage - 1, stage) for stage in range(1, net.num_stages + 1)}
    return steps | {(0, net.num_stages)}


def _through(steps: Iterable[nn.Module], state: tuple[Tensor, ...]) -> object:
    output = None
    for step in steps:
        state, output = step(state)
    return output


def _many(call: Callable[[], object], times: int) -> Work:
    def work() -> None:
        with torch.inference_mode():
            for _ in range(times):
                call()

    return work


def _calls(name: str) -> int:
    return CALLS.get(name, 1)


def _mib(segments: Iterable[nn.Module]) -> float:
    return round(covered(span for each in segments for span in spans_of(tensors_of(each))) / 2**20, 2)
