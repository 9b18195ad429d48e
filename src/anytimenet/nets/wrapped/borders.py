"""Borders of blocks: sub-modules after which one tensor carries all that the answer still needs."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor, fx, nn

from anytimenet.nets.wrapped.capture import Captured, around, capture
from anytimenet.nets.wrapped.marks import MARK, is_overwritten


def border_names(module: nn.Module, example: Tensor) -> list[str]:
    """Names of sub-modules in the order in which they end, the outermost where several end together.

    Each runs once and gives a map of features or tokens, which nothing overwrites; of all that was computed
    before nothing else is read afterwards, and more than the classifier follows.
    """
    captured = capture(module, example, _blocks(module))
    paths = [call.path for call in captured.calls]
    held, matrices = _held(captured), _matrices(captured)
    names: dict[fx.Node, str] = {}
    for place, node in enumerate(captured.nodes):
        if node.target is not MARK or ".out." not in str(node.args[1]):
            continue
        path = paths[int(str(node.args[1]).partition(".")[0])]
        value = _source(node)
        alone = held[place] <= {value}
        if (
            alone
            and paths.count(path) == 1
            and _is_features(node, captured)
            and _is_before_more(place, path, matrices)
        ):
            names[value] = path  # an outer sub-module ends after those in it
    return [path for value, path in names.items() if not is_overwritten(value)]


def _blocks(module: nn.Module) -> set[str]:
    """Sub-modules right inside the module, and those that stand in lists and sequences."""
    lists = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
    found = set()
    for path, part in module.named_modules():
        outer, _, _ = path.rpartition(".")
        listed = (
            not outer or isinstance(part, nn.Sequential) or isinstance(module.get_submodule(outer), lists)
        )
        if path and listed and not isinstance(part, nn.ModuleList | nn.ModuleDict):
            found.add(path)
    return found


def _source(node: fx.Node) -> fx.Node:
    """The node before all marks."""
    while node.target is MARK:
        node = node.args[0]  # type: ignore[assignment]
    return node


def _held(captured: Captured) -> list[set[fx.Node]]:
    """After each node, the values computed from the images that something later reads."""
    last: dict[fx.Node, int] = {}
    for place, node in enumerate(captured.nodes):
        if node.target is not MARK:
            last |= {_source(each): place for each in node.all_input_nodes}
    held: list[set[fx.Node]] = []
    own: set[fx.Node] = set()
    now: set[fx.Node] = set()
    for place, node in enumerate(captured.nodes):
        is_input = captured.given.get(node.name, "") is None
        reads = node.target is not MARK and any(_source(each) in own for each in node.all_input_nodes)
        if is_input or (reads and not isinstance(node.meta.get("val"), torch.SymInt)):
            own.add(node)
        now = {each for each in (*now, node) if each in own and last.get(each, -1) > place}
        held.append(now)
    return held


def _matrices(captured: Captured) -> list[tuple[int, list[str]]]:
    """Where operators read a parameter with two dimensions or more, and the sub-modules around each."""
    found = []
    for place, node in enumerate(captured.nodes):
        sources = [_source(each) for each in node.all_input_nodes] if node.target is not MARK else []
        if any(
            each.op == "placeholder"
            and captured.given.get(each.name) is not None
            and each.meta["val"].ndim > 1
            and each.meta["val"].is_floating_point()
            for each in sources
        ):
            found.append((place, around(node)))
    return found


def _is_before_more(place: int, path: str, matrices: list[tuple[int, list[str]]]) -> bool:
    """Whether more than the classifier follows: what holds the last matrix and not this sub-module."""
    if not matrices:
        return False
    last, outside = matrices[-1]
    classifier = next((outer for outer in outside if outer and not f"{path}.".startswith(f"{outer}.")), None)
    return any(at > place and at != last and classifier not in outer for at, outer in matrices)


def _is_features(node: fx.Node, captured: Captured) -> bool:
    value = node.meta["val"]
    return (
        isinstance(value, Tensor)
        and value.ndim in (3, 4)
        and value.is_floating_point()
        and isinstance(value.shape[0], torch.SymInt)
        and value.shape[0].node.expr == captured.batch
        and prod(value.shape[1:]) > max(value.shape[1:])  # more than one position
    )
