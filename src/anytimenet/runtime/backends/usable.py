"""Whether a run can go on from a state: the one check of every backend."""

from __future__ import annotations

from typing import Protocol, TypeVar


class _OfARun(Protocol):
    stage: int
    used_up: bool


S = TypeVar("S", bound=_OfARun)


def usable(state: object, kind: type[S], stage: int | None = None) -> S:
    """`state`, if a run can go on from it.

    Args:
        state: that a caller gave back.
        kind: what the states of this backend are.
        stage: where the segment starts, if one is to run.

    Raises:
        TypeError: for a state of another backend.
        ValueError: if it is used up, or at another stage.
    """
    if not isinstance(state, kind):
        raise TypeError(f"a state that this backend gave is needed, not a {type(state).__name__}")
    if state.used_up:
        raise ValueError(
            f"the state at stage {state.stage} is used up: go on from the one that the last run gave, "
            "or restore one that was saved"
        )
    if stage is not None and state.stage != stage:
        raise ValueError(f"the state is at stage {state.stage}, and the segment starts at {stage}")
    return state
