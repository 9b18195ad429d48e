"""Steps grouped into nodes of a graph: each node gives one tensor, and no tap lies inside one."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, replace

from torch import nn

from anytimenet.core.segments import INPUT
from anytimenet.nets.wrapped.slicing import Program
from anytimenet.nets.wrapped.steps import BATCH, ModuleCall, Operator, Step

_VIEWS = ("chunk", "split", "split_with_sizes", "unbind", "unsafe_chunk", "unsafe_split", "tensor_split")


@dataclass(frozen=True)
class Group:
    """Steps that are one node.

    Attributes:
        steps: in the order in which they run.
        reads: values of other groups, or the images.
        gives: the value that others read.
        fixed: those of `reads` and `gives` that are the same for all images, such as a table of positions. A
            node gives them once for each image, because states are cut by images.
    """

    steps: tuple[Step, ...]
    reads: tuple[str, ...]
    gives: str
    fixed: Set[str] = frozenset()


class InseparableError(ValueError):
    """A tap lies inside steps that must stay together."""


def groups(program: Program, ends: Collection[str], module: nn.Module) -> list[Group]:
    """The steps as groups, each as large as it can be: whatever only one group reads belongs to it.

    Args:
        program: of the module.
        ends: values that must be what a group gives, taps and the answer.
        module: where the weights are; what shares weights stays in one group.

    Raises:
        InseparableError: if one of `ends` lies inside steps that must stay together.

    Returns:
        Groups in an order in which they can run.
    """
    return _Partition(program, frozenset(ends), module).groups()


class _Partition:
    """`home[i]` is the step whose group step i belongs to; steps copied to their readers have none."""

    def __init__(self, program: Program, ends: frozenset[str], module: nn.Module) -> None:
        self.program = program
        self.steps = program.steps
        self.learned = {path for path, _ in module.named_parameters(remove_duplicate=False)}
        self.ends = ends
        self.maker = {value: place for place, step in enumerate(self.steps) for value in step.gives}
        self.readers: list[set[int]] = [set() for _ in self.steps]
        for place, step in enumerate(self.steps):
            for value in step.reads & self.maker.keys():
                self.readers[self.maker[value]].add(place)
        self.copied = self._copied()
        self.weights = [_weights(step, module) for step in self.steps]
        self.home: dict[int, int] = {}

    def groups(self) -> list[Group]:
        for place in reversed(range(len(self.steps))):
            if place not in self.copied:
                homes = {self.home[reader] for reader in self._final_readers(place)}
                alone = len(homes) == 1 and not self._is_end(place)
                self.home[place] = homes.pop() if alone else place
        while (together := self._must_join()) is not None:
            self._join(*together)
        return self._fed([self._group(root) for root in sorted(set(self.home.values()))])

    def _fed(self, found: list[Group]) -> list[Group]:
        """The groups, those that compute from nothing but weights right before the first that reads them.

        They read what that one reads, for the number of images alone.
        """
        fixed = {group.gives: group for group in found if self._is_fixed(group)}
        fed: list[Group] = []
        for group in found:
            if group.gives in fixed:
                continue
            images = next(value for value in group.reads if value not in fixed)
            for value in group.reads:
                if value in fixed and all(value != other.gives for other in fed):
                    fed.append(replace(fixed[value], reads=(images,), fixed=frozenset({value})))
            fed.append(replace(group, fixed=fixed.keys() & set(group.reads)))
        return fed

    def _is_fixed(self, group: Group) -> bool:
        """Whether a group computes from nothing but weights."""
        shape = self.program.shape(group.gives)
        return not group.reads and shape is not None and all(isinstance(side, int) for side in shape)

    def _copied(self) -> set[int]:
        """Steps that each reader may run for itself: numbers, tables without weights, cuts into pieces."""
        found: set[int] = set()
        for place, step in enumerate(self.steps):
            if not isinstance(step, Operator) or self._is_end(place):
                continue
            name = self._name(place)
            sources = {self.maker[value] for value in step.reads if value in self.maker}
            cut = name in _VIEWS or (
                name.endswith("getitem") and any(self._name(source) in _VIEWS for source in sources)
            )
            constant = all(source in found for source in sources) and INPUT not in step.reads
            learned = {path for path in step.owns if _is_weight(path) and path in self.learned}
            if cut or (constant and not learned):
                found.add(place)
        return found

    def _name(self, place: int) -> str:
        function = getattr(self.steps[place], "function", None)
        return str(getattr(function, "overloadpacket", function)).removeprefix("aten.")

    def _final_readers(self, place: int) -> set[int]:
        """The steps that read what this one gives, through those that are copied."""
        found: set[int] = set()
        for reader in self.readers[place]:
            found |= self._final_readers(reader) if reader in self.copied else {reader}
        return found

    def _is_end(self, place: int) -> bool:
        return any(value in self.ends for value in self.steps[place].gives)

    def _given(self, root: int) -> list[str]:
        """What other groups read of this one, ends included."""
        found = []
        for place, step in enumerate(self.steps):
            if self.home.get(place) == root:
                for value in step.gives:
                    outside = any(
                        self.home[reader] != root
                        for reader in self._final_readers(place)
                        if self._reaches(value, reader)
                    )
                    if outside or value in self.ends:
                        found.append(value)
        return found

    def _reaches(self, value: str, reader: int) -> bool:
        """Whether a step reads a value, itself or through steps that are copied."""
        waiting = list(self.steps[reader].reads)
        while waiting:
            read = waiting.pop()
            if read == value:
                return True
            if read in self.maker and self.maker[read] in self.copied:
                waiting += self.steps[self.maker[read]].reads
        return False

    def _must_join(self) -> tuple[list[int], str] | None:
        """Groups that cannot stay apart, and why."""
        owner: dict[int, int] = {}
        for place, root in sorted(self.home.items()):
            for key in self.weights[place]:
                other = owner.setdefault(key, root)
                if other != root:
                    return sorted(
                        {other, root}
                    ), f"{_label(self.steps[place])} runs with weights that run elsewhere, too"
        for root in sorted(set(self.home.values())):
            given = self._given(root)
            if len(given) != 1:
                return [root], f"{_label(self.steps[root])} gives {len(given)} tensors that are read"
            shape = self.program.shape(given[0])
            rows = shape is not None and len(shape) > 0 and shape[0] == self.program.batch
            if not rows and not self._is_fixed(self._group(root)):
                return [root], f"{_label(self.steps[root])} gives a tensor that is not one row for each image"
        return None

    def _join(self, roots: list[int], why: str) -> None:
        """Puts all that lies between these groups and the first that everything of them runs into in one."""
        for goal in sorted(set(self.home.values())):
            if goal < roots[-1] or (goal == roots[-1] and len(roots) == 1):
                continue
            inside = self._between(roots, goal)
            if goal not in inside or not set(roots) <= inside:
                continue
            closed = all(
                self.home[reader] in inside
                for place, root in self.home.items()
                if root in inside - {goal}
                for reader in self._final_readers(place)
            )
            ends = any(self._is_end(place) for place, root in self.home.items() if root in inside - {goal})
            if closed and not ends:
                self.home = {place: goal if root in inside else root for place, root in self.home.items()}
                return
        raise InseparableError(why)

    def _between(self, roots: Iterable[int], goal: int) -> set[int]:
        """Groups on the way from `roots` to `goal`, both included."""
        after = self._reached(set(roots), forwards=True)
        return after & self._reached({goal}, forwards=False)

    def _reached(self, found: set[int], *, forwards: bool) -> set[int]:
        edges = {
            (root, self.home[reader])
            for place, root in self.home.items()
            for reader in self._final_readers(place)
        }
        while True:
            new = {b if forwards else a for a, b in edges if (a if forwards else b) in found} - found
            if not new:
                return found
            found = found | new

    def _group(self, root: int) -> Group:
        own = {place for place, home in self.home.items() if home == root}
        waiting = list(own)
        reads: set[str] = set()
        while waiting:
            for value in self.steps[waiting.pop()].reads:
                source = self.maker.get(value)
                if source in self.copied and source not in own:
                    own.add(source)
                    waiting.append(source)
                elif source not in own and value != BATCH:
                    reads.add(value)
        order = {INPUT: -1, **self.maker}
        (gives,) = self._given(root)
        steps = tuple(self.steps[place] for place in sorted(own))
        return Group(steps, tuple(sorted(reads, key=order.__getitem__)), gives)


def _weights(step: Step, module: nn.Module) -> set[int]:
    """Identities of the parameters and buffers that a step uses, so that each has one owner."""
    mine = {path: tensor_at(module, path) for path in step.owns if _is_weight(path)}
    learns = isinstance(step, Operator) and step.mode is not None  # statistics of a BatchNorm by function
    found = {id(tensor) for tensor in mine.values() if learns or isinstance(tensor, nn.Parameter)}
    if isinstance(step, ModuleCall):
        part = module.get_submodule(step.path)
        found |= {id(tensor) for tensor in (*part.parameters(), *part.buffers())}
    return found


def tensor_at(module: nn.Module, path: str) -> object:
    """The parameter or buffer of that name."""
    prefix, _, name = path.rpartition(".")
    return getattr(module.get_submodule(prefix), name)


def _is_weight(path: str) -> bool:
    return not path.startswith("constants.")


def _label(step: Step) -> str:
    if isinstance(step, ModuleCall):
        return step.path
    return f"the operator {getattr(step, 'function', '?')}"
