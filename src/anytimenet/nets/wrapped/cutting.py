"""Where a module's steps are cut: at the taps, and before the classifier that gives its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from anytimenet.core.segments import INPUT
from anytimenet.nets.wrapped.capture import Captured
from anytimenet.nets.wrapped.marks import is_overwritten
from anytimenet.nets.wrapped.partition import Group, InseparableError, groups, tensor_at
from anytimenet.nets.wrapped.slicing import Program
from anytimenet.nets.wrapped.steps import BATCH, ModuleCall, Step


@dataclass(frozen=True)
class Cut:
    """A module's steps as nodes and a classifier.

    Attributes:
        program: the steps.
        groups: one for each node.
        classifier: what reads the last node and gives the module's answer.
        whole: all steps as one, in the module's order.
        names: of the node that gives a value.
        taps: the value behind each tap.
    """

    program: Program
    groups: tuple[Group, ...]
    classifier: Group
    whole: Group
    names: dict[str, str]
    taps: tuple[str, ...]

    @property
    def classifier_reads(self) -> str:
        """The name of the node that the classifier reads."""
        (value,) = self.classifier.reads
        return self.names[value]


def cut_at(captured: Captured, steps: Program, taps: Sequence[str], module: nn.Module) -> Cut:
    """A module's steps cut at `taps` and before the classifier.

    Raises:
        ValueError: if one of `taps` does not run once, or lies where nothing can be cut, or the classifier is
            all that is left after the last.
    """
    values = tap_values(captured, steps, taps)
    places = {name: place for place, name in enumerate(_order(steps))}
    in_order = sorted(taps, key=lambda tap: places[steps.places[tap]])
    if list(taps) != in_order:
        raise ValueError(f"taps {list(taps)}: name them in the order in which they run, {in_order}")
    for one, other in pairwise(taps):
        if steps.places[one] == steps.places[other]:
            raise ValueError(f"{one} and {other} give the same tensor: name one of them")
    if values[-1] == steps.answer:
        raise ValueError(f"{taps[-1]} gives the module's own answer, which is the last stage: leave it out")
    last = _before_classifier(steps, module, values[-1], taps[-1])
    head = _steps_after(steps, last)
    body = Program(
        tuple(step for place, step in enumerate(steps.steps) if place not in head),
        last,
        steps.places,
        steps.nodes,
        steps.batch,
    )
    try:
        found = tuple(groups(body, {*values, last}, module))
    except InseparableError as error:
        near = _nearest(body, taps, {*values, last}, module)
        raise ValueError(f"the module cannot be cut at {', '.join(taps)}: {error}; {near}") from error
    classifier = Group(tuple(steps.steps[place] for place in sorted(head)), (last,), steps.answer)
    whole = Group(steps.steps, (INPUT,), steps.answer)
    return Cut(steps, found, classifier, whole, _names(found, steps, taps), tuple(values))


def tap_values(captured: Captured, steps: Program, taps: Sequence[str]) -> list[str]:
    """The value behind each tap.

    Raises:
        ValueError: for a tap that gives none, or several.
    """
    for tap in taps:
        if tap not in steps.places:
            raise ValueError(_why_not(captured, tap))
    return [steps.places[tap] for tap in taps]


def _nearest(body: Program, taps: Sequence[str], ends: set[str], module: nn.Module) -> str:
    """The taps next to those that are refused at which the body can be cut."""
    given = {value for step in body.steps for value in step.gives}
    order = sorted(given & set(body.places.values()), key=_order(body).index)
    works = {}
    for path, value in body.places.items():
        if value in given:
            try:
                groups(body, {value, body.answer}, module)
            except InseparableError:
                continue
            works[order.index(value)] = path
    refused = [order.index(value) for value in ends - {body.answer} if order.index(value) not in works]
    near = {min(works, key=lambda at: abs(at - place)) for place in refused if works}
    return f"it can at {', '.join(works[at] for at in sorted(near))}" if near else "tap its parts one by one"


def _order(steps: Program) -> list[str]:
    return [INPUT, *(value for step in steps.steps for value in step.gives)]


def _before_classifier(steps: Program, module: nn.Module, after: str, tap: str) -> str:
    """The value that the classifier reads: behind it lies one layer with a matrix, or as few as can be."""
    weighted = {place for place, step in enumerate(steps.steps) if _has_matrix(step, module)}
    tail = _steps_after(steps, after)
    best: tuple[int, str] | None = None
    for value in _order(steps)[1:]:
        head = _steps_after(steps, value)
        count = len(weighted & head)
        between = {place for place in tail if place not in head}
        is_cut = {read for place in head for read in steps.steps[place].reads} - {BATCH} - {
            given for place in head for given in steps.steps[place].gives
        } == {value}
        if not (is_cut and count and weighted & between) or is_overwritten(steps.nodes[value]):
            continue
        if best is None or count < best[0]:
            best = count, value
    if best is None:
        raise ValueError(
            f"after {tap!r} only the module's own classifier is left, so that the last stage would "
            "know no more than the one before: leave that tap out"
        )
    return best[1]


def _steps_after(steps: Program, value: str) -> frozenset[int]:
    """The steps that `value` does not need."""
    maker = {given: place for place, step in enumerate(steps.steps) for given in step.gives}
    needed: set[int] = set()
    waiting = [value]
    while waiting:
        place = maker.get(waiting.pop())
        if place is not None and place not in needed:
            needed.add(place)
            waiting += steps.steps[place].reads
    return frozenset(range(len(steps.steps))) - needed


def _has_matrix(step: Step, module: nn.Module) -> bool:
    if isinstance(step, ModuleCall):
        return any(weight.ndim > 1 for weight in module.get_submodule(step.path).parameters())
    own = (tensor_at(module, path) for path in step.owns if not path.startswith("constants."))
    return any(isinstance(tensor, nn.Parameter) and tensor.ndim > 1 for tensor in own)


def _names(found: Sequence[Group], steps: Program, taps: Sequence[str]) -> dict[str, str]:
    """A name for each node: that of the sub-module whose result it gives, as far as there is one."""
    by_value = {value: path for path, value in steps.places.items()}  # innermost last
    by_value |= {steps.places[tap]: tap for tap in taps}
    names: dict[str, str] = {}
    for group in found:
        name = by_value.get(group.gives) or _path_of(group, steps) or group.gives
        names[group.gives] = _free_name(name.replace(".", "_"), {INPUT, *names.values()})
    return names


def _free_name(name: str, taken: set[str]) -> str:
    while name in taken or hasattr(nn.ModuleDict, name) or name in ("training", "reads", "writes", "steps"):
        name += "_"
    return name


def _why_not(captured: Captured, tap: str) -> str:
    """Why nothing can be read behind a sub-module."""
    count = sum(call.path == tap for call in captured.calls)
    if not count:
        return (
            f"{tap} did not run in the module's forward, or only inside a sub-module that is used otherwise"
        )
    if count > 1:
        return f"{tap} ran {count} times in the module's forward: a tap is a sub-module that runs once"
    return f"the module's answer does not depend on what {tap} gives, or on several tensors of it"


def _path_of(group: Group, steps: Program) -> str | None:
    maker = next(step for step in group.steps if group.gives in step.gives)
    return maker.path if isinstance(maker, ModuleCall) else None
