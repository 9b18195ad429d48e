"""A captured graph as steps: whole calls of sub-modules where no tap lies inside, operators elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from anytimenet.core.segments import INPUT
from anytimenet.nets.wrapped.capture import Captured, around, capture, symbol
from anytimenet.nets.wrapped.marks import MARK, Call, Slot
from anytimenet.nets.wrapped.steps import (
    BATCH,
    ModuleCall,
    Number,
    Operator,
    Own,
    Place,
    Step,
    Value,
    replaced,
)

_IN_TRAINING = {"dropout": 2, "feature_dropout": 2, "alpha_dropout": 2, "feature_alpha_dropout": 2}
_IN_TRAINING |= {"batch_norm": 5, "instance_norm": 5, "rrelu": 3}
"""Where the arguments of an operator say that the module is in training mode."""
_SAME = ("aten.lift_fresh_copy", "aten.detach", "aten.detach_", "aten.alias")
"""Of a constant these give the constant."""


@dataclass(frozen=True)
class Program:
    """Steps from the images to the answer, in the order in which the module runs them.

    Attributes:
        steps: no one that the answer does not need.
        answer: the value that is the module's answer.
        places: the value behind each sub-module that ran once and gives one tensor that is used.
        nodes: of the captured graph, by the name of the value.
    """

    steps: tuple[Step, ...]
    answer: str
    places: dict[str, str]
    nodes: dict[str, fx.Node]
    batch: Any

    def shape(self, value: str) -> tuple[Any, ...] | None:
        """The shape of a value, the number of examples as `batch`; None for what is no tensor."""
        found = self.nodes[value].meta["val"]
        return tuple(symbol(size) for size in found.shape) if isinstance(found, Tensor) else None


def followed(module: nn.Module, example: Tensor, taps: Collection[str]) -> tuple[Captured, Program]:
    """The steps of a module; sub-modules with one of `taps` inside are opened, and what else must be.

    What cannot be called again from outside is opened, too: it is called with more than tensors and plain
    values, or something reaches out of it by another way than its result. Opened down to the ground it is
    operators.

    Raises:
        ValueError: if the module's forward cannot be followed.
    """
    opened = {tap[:place] for tap in taps for place, letter in enumerate(tap) if letter == "."}
    noticed: set[str] = set()
    while True:
        captured = capture(module, example, _watched(module, opened, noticed))
        slicer = _Slicer(captured, opened)
        slicer.run()
        if slicer.must_open <= opened and slicer.unmarked <= noticed:
            return captured, slicer.program()
        opened |= slicer.must_open
        noticed |= slicer.unmarked


def _watched(module: nn.Module, opened: Collection[str], noticed: Collection[str]) -> set[str]:
    """The sub-modules right inside the module, inside what is opened and inside mere lists, and `noticed`."""
    found = set(noticed)
    inside = {"", *opened}
    for path, part in module.named_modules():
        if path and path.rpartition(".")[0] in inside:
            found.add(path)
            if isinstance(part, nn.ModuleList | nn.ModuleDict):
                inside.add(path)
    return found


class _Slicer:
    """Goes back from the answer, past whole calls, and notes what is needed."""

    def __init__(self, captured: Captured, opened: set[str]) -> None:
        self.captured = captured
        self.opened = opened
        self.batch = captured.batch
        self.closed = {call.number for call in captured.calls if call.path not in opened}
        self.closed_paths = {captured.calls[number].path for number in self.closed}
        self.marked = {"", *(call.path for call in captured.calls)}
        self.order = {node.name: place for place, node in enumerate(captured.nodes)}
        self.found: dict[str, Step] = {}
        self.given: dict[int, dict[int, str]] = {}
        self.must_open: set[str] = set()
        self.unmarked: set[str] = set()

    def run(self) -> None:
        """Fills `found`, by value, and `given`, for each call the values that are read of it."""
        waiting = [self._value(self.captured.answer)]
        while waiting:
            value = waiting.pop()
            if not isinstance(value, Value) or value.name in self.found or value.name in (INPUT, BATCH):
                continue
            node = self.captured.nodes[self.order[value.name]]
            step = self._call_of(node) if node.target is MARK else self._operator(node)
            self.found[value.name] = step
            waiting += [Value(name) for name in step.reads]

    def program(self) -> Program:
        steps: dict[str, Step] = {}
        for name in sorted(self.found, key=self.order.__getitem__):
            step = self.found[name]
            if isinstance(step, ModuleCall):
                number = self._mark(name)[0]
                given = dict(sorted(self.given[number].items()))
                picks = () if self.captured.calls[number].single else tuple(given)
                steps[f"call {number}"] = replace(step, gives=tuple(given.values()), picks=picks)
            else:
                steps[name] = step
        answer = self._value(self.captured.answer)
        assert isinstance(answer, Value)
        nodes = {node.name: node for node in self.captured.nodes}
        return Program(_once(list(steps.values())), answer.name, self._places(), nodes, self.batch)

    def _places(self) -> dict[str, str]:
        """The value behind each sub-module, where there is exactly one."""
        paths = [call.path for call in self.captured.calls]
        known = {INPUT, *self.found}
        places = {}
        for call in self.captured.calls:
            values = [value.name for value in self._results(call) if value.name in known]
            if paths.count(call.path) == 1 and len(set(values)) == 1:
                places[call.path] = values[0]
        return places

    def _results(self, call: Call) -> Iterator[Value]:
        for mark, node in self.captured.marks.items():
            if mark.startswith(f"{call.number}.out."):
                value = self._value(node)
                if isinstance(value, Value):
                    yield value

    def _value(self, node: fx.Node) -> Value | Own:
        """What a node stands for, past the marks of calls that are open."""
        while node.target is MARK:
            number, side, _ = self._mark(node.name)
            if side == "out" and number in self.closed and not self._inside_closed(number):
                return Value(node.name)
            node = node.args[0]  # type: ignore[assignment]
        if node.op == "placeholder":
            if node.name in self.captured.constants:
                return Own(f"constants.{node.name}")
            path = self.captured.given[node.name]
            return Value(INPUT) if path is None else Own(path)
        if _named(node) in _SAME and isinstance(node.args[0], fx.Node):
            source = self._value(node.args[0])
            if isinstance(source, Own) and source.path.startswith("constants."):
                return source
        if isinstance(node.meta.get("val"), torch.SymInt) and symbol(node.meta["val"]) == self.batch:
            return Value(BATCH)
        return Value(node.name)

    def _call_of(self, node: fx.Node) -> Step:
        number, _, leaf = self._mark(node.name)
        call = self.captured.calls[number]
        self.given.setdefault(number, {})[leaf] = node.name

        def tensor(slot: Any) -> Any:
            if not isinstance(slot, Slot):
                return slot
            mark = self.captured.marks.get(f"{number}.in.{slot.number}")
            if mark is None:  # it does nothing with that tensor, so the graph does not say which it is
                self.must_open.add(call.path)
                return None
            return self._value(mark)

        if call.reason:
            self.must_open.add(call.path)

        return ModuleCall(replaced(call.args, tensor), replaced(call.kwargs, tensor), (), call.path)

    def _operator(self, node: fx.Node) -> Step:
        self.must_open |= {path for path in around(node) if path in self.closed_paths}
        self.unmarked |= {path for path in around(node) if path not in self.marked}

        def argument(leaf: Any) -> Any:
            if isinstance(leaf, fx.Node):
                return self._value(leaf)
            if isinstance(leaf, torch.device):
                return Place()
            return Number() if leaf == self.captured.dtype else leaf

        args = replaced(node.args, argument)
        mode = _IN_TRAINING.get(_named(node).removeprefix("aten.").removesuffix("_"))
        return Operator(args, replaced(node.kwargs, argument), (node.name,), node.target, mode)  # type: ignore[arg-type]

    def _inside_closed(self, number: int) -> bool:
        parent = self.captured.calls[number].parent
        while parent is not None:
            if parent in self.closed:
                return True
            parent = self.captured.calls[parent].parent
        return False

    def _mark(self, name: str) -> tuple[int, str, int]:
        number, side, leaf = str(self.captured.nodes[self.order[name]].args[1]).split(".")
        return int(number), side, int(leaf)


def _named(node: fx.Node) -> str:
    return str(getattr(node.target, "overloadpacket", node.target))


def _once(steps: list[Step]) -> tuple[Step, ...]:
    """The steps, those that are the same for all images and come several times once.

    A table of positions that each block computes again is one step, so that its weights have one owner.
    """
    same: dict[str, str] = {}
    known: dict[str, Step] = {}
    fixed: set[str] = set()
    kept: list[Step] = []

    def first(leaf: Any) -> Any:
        return Value(same.get(leaf.name, leaf.name)) if type(leaf) is Value else leaf

    for step in steps:
        step = replace(step, args=replaced(step.args, first), kwargs=replaced(step.kwargs, first))
        random = torch.Tag.nondeterministic_seeded in getattr(getattr(step, "function", None), "tags", ())
        if step.reads <= fixed and not random:
            key = repr(replace(step, gives=()))
            earlier = known.setdefault(key, step)
            fixed |= set(step.gives)
            if earlier is not step and len(earlier.gives) == len(step.gives):
                same |= dict(zip(step.gives, earlier.gives, strict=True))
                continue
        kept.append(step)
    return tuple(kept)
