"""A piece of a module's forward as a module of its own, made of the module's own sub-modules and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from anytimenet.nets.wrapped.partition import Group, tensor_at
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


class Region(nn.Module):
    """Runs steps in their order, on sub-modules and weights that keep their names; gives one tensor.

    Sub-modules and weights are the module's own, not copies. Operators between them that differ in training,
    dropout and BatchNorm called as functions, follow the region's own mode.

    Args:
        group: what is run.
        module: whose sub-modules and weights these are.
        constants: tensors of the module's code.
        folds: pairs of names in the module, a convolution and the BatchNorm that alone reads it.

    >>> from anytimenet.nets.wrapped.steps import ModuleCall, Value
    >>> whole = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    >>> calls = (ModuleCall((Value("x"),), {}, ("a",), "0"), ModuleCall((Value("a"),), {}, ("b",), "1"))
    >>> region = Region(Group(calls, ("x",), "b"), whole, {})
    >>> sorted(region.state_dict()), region(torch.zeros(2, 3, 8, 8)).shape
    (['0.bias', '0.weight'], torch.Size([2, 4, 6, 6]))
    """

    def __init__(
        self,
        group: Group,
        module: nn.Module,
        constants: Mapping[str, Tensor],
        folds: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self._plan = _planned(group)
        self._reads, self._gives, self._fixed = group.reads, group.gives, frozenset(group.fixed)
        self.train(module.training)
        _fill(self, group.steps, module, constants)
        held = {name for name, _ in self.named_modules()}
        self.folds = tuple(pair for pair in folds if held.issuperset(pair))

    def forward(self, *tensors: Tensor) -> Tensor:
        values: dict[str, Any] = {
            name: tensor[0] if name in self._fixed else tensor
            for name, tensor in zip(self._reads, tensors, strict=True)
        }
        values[BATCH] = tensors[0].shape[0]

        def argument(leaf: Any) -> Any:
            kind = type(leaf)
            if kind is Value:
                return values[leaf.name]
            if kind is Own:
                return tensor_at(self, leaf.path)
            if kind is Place:
                return tensors[0].device
            return tensors[0].dtype if kind is Number else leaf

        for step, frees in self._plan:
            args = [values[a.name] if type(a) is Value else replaced(a, argument) for a in step.args]
            kwargs = {name: replaced(a, argument) for name, a in step.kwargs.items()}
            if isinstance(step, ModuleCall):
                given = self.get_submodule(step.path)(*args, **kwargs)
                if step.picks:
                    found = pytree.tree_leaves(given)
                    values |= {name: found[pick] for name, pick in zip(step.gives, step.picks, strict=True)}
                else:
                    values[step.gives[0]] = given
            else:
                assert isinstance(step, Operator)
                if isinstance(step.mode, int):
                    # What holds in evaluation, too, such as a norm of each image alone, always holds.
                    args[step.mode] = args[step.mode] or self.training
                values[step.gives[0]] = step.function(*args, **kwargs)
            for name in frees:
                del values[name]
        result: Tensor = values[self._gives]
        if self._gives in self._fixed:
            result = result.expand(values[BATCH], *result.shape)
        return result


class FrozenRegion(Region):
    """A region that stays as it is: in eval mode always, and without a graph."""

    stays_as_it_is = True

    def __init__(
        self,
        group: Group,
        module: nn.Module,
        constants: Mapping[str, Tensor],
        folds: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(group, module, constants, folds)
        self.train(False)  # what came from the module is in its mode still

    def train(self, mode: bool = True) -> FrozenRegion:
        super().train(False)
        return self

    def forward(self, *tensors: Tensor) -> Tensor:
        with torch.no_grad():
            return super().forward(*tensors)


class Names(nn.Module):
    """Holds sub-modules and weights under the names that they have in the module they come from."""


def _planned(group: Group) -> tuple[tuple[Step, tuple[str, ...]], ...]:
    """The steps, and after each the values that nothing reads any more."""
    steps = _kept_apart(group)
    plan: list[tuple[Step, tuple[str, ...]]] = []
    later = {group.gives}
    for step in reversed(steps):
        ends = {*step.reads, *step.gives} - later - {BATCH}
        plan.append((step, tuple(sorted(ends))))
        later |= {*step.reads, *step.gives}
    return tuple(reversed(plan))


def _kept_apart(group: Group) -> list[Step]:
    """The steps, with a copy before an operator that would overwrite what comes in, or a constant."""
    steps: list[Step] = []
    copies: dict[tuple[type, str], Value] = {}

    def renamed(leaf: Any) -> Any:
        return copies.get((type(leaf), leaf[0]), leaf) if isinstance(leaf, Value | Own) else leaf

    for step in group.steps:
        for leaf in step.overwrites if isinstance(step, Operator) else ():
            (name,) = leaf
            lasts = name in group.reads if isinstance(leaf, Value) else name.startswith("constants.")
            if lasts and (type(leaf), name) not in copies:
                copies[type(leaf), name] = copy = Value(f"{name} copied")
                steps.append(Operator((leaf,), {}, (copy.name,), torch.ops.aten.clone.default))
        args, kwargs = replaced(step.args, renamed), replaced(step.kwargs, renamed)
        steps.append(replace(step, args=args, kwargs=kwargs))
    return steps


def _fill(region: Region, steps: Sequence[Step], module: nn.Module, constants: Mapping[str, Tensor]) -> None:
    paths = sorted({step.path for step in steps if isinstance(step, ModuleCall)}, key=lambda p: p.count("."))
    for path in paths:
        holder, name = _holder(region, path)
        if name not in holder._modules:
            holder.add_module(name, module.get_submodule(path))
    for step in steps:
        for path in sorted(step.owns):
            holder, name = _holder(region, path)
            if hasattr(holder, name):  # it came with a sub-module
                continue
            tensor = constants[name] if path.startswith("constants.") else tensor_at(module, path)
            assert isinstance(tensor, Tensor)
            if isinstance(tensor, nn.Parameter):
                holder.register_parameter(name, tensor)
            else:
                learns = isinstance(step, Operator) and step.mode is not None
                # Others may be read in several places, and each weight has one owner.
                holder.register_buffer(name, tensor if learns else tensor.clone())


def _holder(region: nn.Module, path: str) -> tuple[nn.Module, str]:
    """What holds the name at the end of `path`, made where it is missing."""
    *way, name = path.split(".")
    for part in way:
        if part not in region._modules:
            names = Names()
            names.train(region.training)
            region.add_module(part, names)
        region = region.get_submodule(part)
    return region, name
