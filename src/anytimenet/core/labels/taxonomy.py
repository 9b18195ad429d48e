"""Classes on several levels: each fine class with one coarser class on every level above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anytimenet.core.checks import all_words, instance, raised_as, several, whole_number, whole_numbers
from anytimenet.core.errors import DataError
from anytimenet.core.records import JsonForm, Record


@dataclass(frozen=True)
class Taxonomy(Record):
    """A tree of classes cut at several levels, fine level first; that is level 1.

    Attributes:
        levels: names of the classes of each level.
        parents: for each fine class, its id on each coarser level, finer to coarser.

    Raises:
        TypeError: for what are no names or no numbers.
        DataError: unless every class has exactly one parent on the next level and every coarser class
            has a child.

    >>> kinds = {"cat": "animal", "dog": "animal", "oak": "plant"}
    >>> taxonomy = Taxonomy.from_mapping(("cat", "dog", "oak"), kinds)
    >>> taxonomy.levels
    (('cat', 'dog', 'oak'), ('animal', 'plant'))
    >>> taxonomy.lift([2, 0]).tolist()
    [[2, 1], [0, 0]]
    """

    levels: tuple[tuple[str, ...], ...]
    parents: tuple[tuple[int, ...], ...]
    json_form = JsonForm(DataError, "a taxonomy")

    def __post_init__(self) -> None:
        with raised_as(DataError):
            levels = tuple(all_words(level, "levels") for level in several(self.levels, "levels"))
            parents = tuple(whole_numbers(row, "parents") for row in several(self.parents, "parents"))
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "parents", parents)
        self._check_names()
        self._check_parents()

    @property
    def num_levels(self) -> int:
        """How many levels there are, the fine one included."""
        return len(self.levels)

    @classmethod
    def from_mapping(cls, fine_names: Sequence[str], mapping: Mapping[str, str | Sequence[str]]) -> Taxonomy:
        """From `{fine name: coarser name}` or `{fine name: [finer, ..., coarser names]}`.

        Classes of the coarser levels are numbered in alphabetical order. Names in `mapping` that are
        not in `fine_names` are left out.

        Raises:
            DataError: if a class is missing, the lists differ in length, or a class has two parents.
        """
        with raised_as(DataError):
            # A word is a sequence of letters, which may be names.
            letters = isinstance(fine_names, str)
            fine_names = all_words(tuple(fine_names) if letters else fine_names, "fine_names")
        instance(mapping, Mapping, "mapping", '{"oak": "tree"}')
        missing = [name for name in fine_names if name not in mapping]
        if missing:
            raise DataError(
                f"the taxonomy says nothing about {_some(missing)}; add a coarser name for each class"
            )
        chains = [_chain(name, mapping[name]) for name in fine_names]
        lengths = {len(chain) for chain in chains}
        if len(lengths) > 1:
            raise DataError(
                f"the taxonomy gives some classes {min(lengths)} coarser names and others {max(lengths)}; "
                "each needs the same number (repeat a name where a branch is short)"
            )
        coarser = [sorted(set(column)) for column in zip(*chains, strict=True)]
        parents = [
            tuple(names.index(name) for names, name in zip(coarser, chain, strict=True)) for chain in chains
        ]
        return cls((tuple(fine_names), *(tuple(names) for names in coarser)), tuple(parents))

    def lift(self, fine_labels: Sequence[int] | np.ndarray) -> np.ndarray:
        """The labels on every level: `(N,)` fine ids to int64 `(N, levels)`, fine level first.

        Raises:
            DataError: if a label is not the id of a fine class.
        """
        if isinstance(fine_labels, np.ndarray) and fine_labels.dtype.kind in "iu":
            labels = fine_labels.astype(np.int64).reshape(-1)
        else:
            with raised_as(DataError):
                labels = np.array(whole_numbers(fine_labels, "fine_labels"), dtype=np.int64)
        if labels.size and not 0 <= labels.min() <= labels.max() < len(self.levels[0]):
            raise DataError(
                f"labels must be from 0 to {len(self.levels[0]) - 1}, got {labels.min()} to {labels.max()}"
            )
        parents = np.asarray(self.parents, dtype=np.int64).reshape(len(self.parents), -1)
        return np.concatenate([labels[:, None], parents[labels]], axis=1)

    def sum_up(self, probabilities: np.ndarray, level: int) -> np.ndarray:
        """Probabilities `(N, classes of level)`: each class has the sum of the fine classes below it.

        Args:
            probabilities: of the fine classes, `(N, fine classes)`.
            level: counted from 1, the fine level.

        Raises:
            ValueError: for a level that does not exist.
            DataError: for another number of fine classes.

        >>> taxonomy = Taxonomy((("cat", "dog", "oak"), ("animal", "plant")), ((0,), (0,), (1,)))
        >>> taxonomy.sum_up(np.array([[0.25, 0.25, 0.5]]), 2).tolist()
        [[0.5, 0.5]]
        """
        level = whole_number(level, "level", 1, self.num_levels)
        instance(probabilities, np.ndarray, "probabilities", "an array (N, fine classes)")
        fine = len(self.levels[0])
        if probabilities.ndim != 2 or probabilities.shape[1] != fine:
            raise DataError(f"probabilities of {fine} classes are needed, got {probabilities.shape}")
        members = np.zeros((fine, len(self.levels[level - 1])), dtype=probabilities.dtype)
        members[np.arange(fine), self.lift(range(fine))[:, level - 1]] = 1
        return probabilities @ members

    def _check_names(self) -> None:
        if not self.levels or not all(self.levels):
            raise DataError("a taxonomy needs at least one level and one class on each")
        for level, names in enumerate(self.levels, start=1):
            if len(set(names)) != len(names):
                twice = _some(_twice(names))
                raise DataError(
                    f"a name occurs twice on level {level} of the taxonomy: {twice}; rename one of them"
                )

    def _check_parents(self) -> None:
        fine = self.levels[0]
        if len(self.parents) != len(fine):
            raise DataError(
                f"a taxonomy of {len(fine)} classes needs as many parents, got {len(self.parents)}"
            )
        for name, row in zip(fine, self.parents, strict=True):
            if len(row) != self.num_levels - 1 or any(
                not 0 <= i < len(names) for i, names in zip(row, self.levels[1:], strict=True)
            ):
                raise DataError(f"class {name!r} needs one id on each coarser level, got {row}")
        columns = list(zip(range(len(fine)), *zip(*self.parents, strict=True), strict=True))
        for depth in range(self.num_levels - 1):
            self._check_tree(depth, {(row[depth], row[depth + 1]) for row in columns})

    def _check_tree(self, depth: int, edges: set[tuple[int, int]]) -> None:
        children = [child for child, _ in sorted(edges)]
        if len(set(children)) != len(children):
            twice = _twice(children)[0]
            parents = [self.levels[depth + 1][parent] for child, parent in sorted(edges) if child == twice]
            raise DataError(
                f"{self.levels[depth][twice]!r} on level {depth + 1} of the taxonomy has two parents, "
                f"{parents[0]!r} and {parents[1]!r}: give all classes below it the same one, or rename it"
            )
        childless = set(range(len(self.levels[depth + 1]))) - {parent for _, parent in edges}
        if childless:
            names = [self.levels[depth + 1][i] for i in sorted(childless)]
            raise DataError(
                f"no class belongs to {_some(names)} on level {depth + 2} of the taxonomy; leave it out"
            )


def _chain(name: str, coarser: str | Sequence[str]) -> tuple[str, ...]:
    chain = (coarser,) if isinstance(coarser, str) else coarser
    if not isinstance(chain, list | tuple) or not chain or not all(isinstance(n, str) and n for n in chain):
        raise DataError(f"the taxonomy needs a coarser name or a list of names for {name!r}, got {coarser!r}")
    return tuple(chain)


def _twice(values: Sequence[Any]) -> list[Any]:
    seen: set[Any] = set()
    return [value for value in values if value in seen or seen.add(value)]  # type: ignore[func-returns-value]


def _some(names: Sequence[Any], most: int = 5) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
