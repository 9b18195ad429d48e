"""Tasks by name: how the code of what a bundle predicts is found again."""

from __future__ import annotations

from collections.abc import Callable

from anytimenet.core.checks import function, words
from anytimenet.core.errors import DataError, suggest
from anytimenet.tasks.classification import Classification
from anytimenet.tasks.segmentation import Segmentation
from anytimenet.tasks.task import Task

MakeTask = Callable[[tuple[int, ...]], Task]

_TASKS: dict[str, MakeTask] = {
    "classification": Classification,
    "hierarchical": Classification,
    "segmentation": Segmentation,
}


def register_task(kind: str, make: MakeTask) -> None:
    """Makes a task of one's own known, so that `evaluate` finds it for the bundles that it trained.

    Args:
        kind: the `kind` of the task.
        make: the task for the classes of each label level; the class itself, mostly.

    Raises:
        ValueError: for the name of another task.

    >>> from anytimenet.tasks import Classification
    >>> class Counting(Classification):
    ...     kind = "counting"
    >>> register_task("counting", Counting)
    >>> task_named("counting", (4,)).num_classes
    (4,)
    """
    words(kind, "kind")
    function(make, "make", "Restoration")
    known = _TASKS.get(kind)
    # A module that is run again makes its class anew.
    if known is not None and getattr(known, "__qualname__", "") != getattr(make, "__qualname__", None):
        raise ValueError(f"kind: a task is named {kind!r} already, give yours another name")
    _TASKS[kind] = make


def task_named(kind: str, num_classes: tuple[int, ...]) -> Task:
    """The task of a bundle.

    Raises:
        DataError: for a task that is not registered here.
    """
    if kind not in _TASKS:
        raise DataError(
            f"no task is named {kind!r} here ({suggest(kind, _TASKS)}): import what calls "
            f"register_task({kind!r}, ...) first"
        )
    return _TASKS[kind](num_classes)
