"""Paths: the lists of segments that a run is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import count

from anytimenet.core import checks

SegmentPath = tuple[tuple[int, int], ...]
"""Segments (start, stop), each from where the one before it ended, or from the input, 0, again."""


def check_path(path: object, at: int, stage: int, segments: Collection[tuple[int, int]]) -> SegmentPath:
    """`path` as a tuple, if a run can take it.

    Args:
        path: segments (start, stop).
        at: the stage whose state is there, 0 for the input.
        stage: the last one that is finished; every segment has to go further.
        segments: those that can be run.

    Raises:
        TypeError, ValueError: for what is no path, or a segment that cannot be run here.

    >>> check_path([(0, 1), (1, 4)], 0, 0, {(0, 1), (1, 4)})
    ((0, 1), (1, 4))
    """
    found = []
    for item in checks.several(path, "path"):
        start, stop = _segment(item)
        if (start, stop) not in segments:
            raise ValueError(f"segment ({start}, {stop}) cannot be run: {_there_are(segments)}")
        if start not in (0, at):
            raise ValueError(
                f"segment ({start}, {stop}) starts at stage {start}, where the path is at "
                f"{f'stage {at}' if at else 'the input'}"
            )
        if stop <= stage:
            raise ValueError(
                f"segment ({start}, {stop}) goes no further than stage {stage}, which is finished"
            )
        found.append((start, stop))
        at = stage = stop
    return tuple(found)


def path_to(stop: int, at: int, stage: int, segments: Collection[tuple[int, int]]) -> SegmentPath:
    """The path of the fewest segments to stage `stop`: from the state at `at`, else from the input again.

    Raises:
        ValueError: if no segments lead there, or it is finished.

    >>> path_to(3, 0, 0, {(0, 1), (1, 3), (0, 2)}), path_to(2, 1, 1, {(0, 1), (0, 2)})
    (((0, 1), (1, 3)), ((0, 2),))
    """
    if stop <= stage:
        raise ValueError(f"stage {stop} is not ahead: stage {stage} is finished")
    for origin in (at, 0):
        reached: dict[int, SegmentPath] = {origin: ()}
        for _ in count():
            new = {
                z: (*reached[a], (a, z))
                for a, z in sorted(segments)
                if a in reached and z not in reached and stage < z <= stop
            }
            if stop in new:
                return new[stop]
            if not new:
                break
            reached |= new
    raise ValueError(f"no segments lead to stage {stop} from stage {at}: {_there_are(segments)}")


def steps_to(stop: int, at: int, stage: int, segments: Collection[tuple[int, int]]) -> SegmentPath:
    """The path that stops at every stage up to `stop` that segments lead to."""
    found: list[tuple[int, int]] = []
    while stage < stop:
        ahead = [z for a, z in segments if a in (0, at) and stage < z <= stop]
        if not ahead:
            break
        nearest = min(ahead)
        found.append((at if (at, nearest) in segments else 0, nearest))
        at = stage = nearest
    return tuple(found)


def stages_reached(segments: Collection[tuple[int, int]]) -> tuple[int, ...]:
    """The stages that segments lead to from the input, rising.

    >>> stages_reached({(0, 1), (1, 3), (2, 4)})
    (1, 3)
    """
    reached = {0}
    for stop in sorted({stop for _, stop in segments}):
        if any(start in reached and (start, stop) in segments for start in range(stop)):
            reached.add(stop)
    return tuple(sorted(reached - {0}))


def _segment(item: object) -> tuple[int, int]:
    """`item` as (start, stop); quick for what is that already, for planners ask before every segment."""
    if type(item) is tuple and len(item) == 2 and type(item[0]) is int and type(item[1]) is int:
        return item
    segment = checks.whole_numbers(item, "a segment of path")
    if len(segment) != 2:
        raise ValueError(f"a path is a list of segments (start, stop), and {item!r} is none")
    return segment[0], segment[1]


def _there_are(segments: Iterable[tuple[int, int]]) -> str:
    known = sorted(segments)
    listed = ", ".join(map(str, known[:8])) + (", ..." if len(known) > 8 else "")
    return f"the backend has {listed or 'none'}; export or prepare what is missing"
