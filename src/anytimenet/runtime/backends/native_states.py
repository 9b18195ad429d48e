"""States of the native engine: which sessions hold them, and what may be one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from anytimenet.core.segments import TensorSpec
from anytimenet.native.engine import NativeSession


class NativeState:
    """A state: a stage, and for each image the session that holds it; after the last stage none."""

    def __init__(self, stage: int, sessions: Sequence[NativeSession], batch: int | None = None) -> None:
        self.stage, self.sessions = stage, list(sessions)
        self.batch = len(self.sessions) if batch is None else batch
        self.used_up = False

    @property
    def nbytes(self) -> int:
        """Bytes of the sessions."""
        return 0 if self.used_up else sum(session.nbytes for session in self.sessions)

    def take(self) -> list[NativeSession]:
        """Its sessions, which it has no longer."""
        self.used_up = True
        return self.sessions


def check_saved(stage: int, specs: Sequence[TensorSpec], tensors: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless these are the tensors of that stage, in numbers that the engine has."""
    wanted = {spec.name: spec.shape for spec in specs}
    given = {name: tuple(tensor.shape[1:]) for name, tensor in tensors.items()}
    if wanted != given or len({len(tensor) for tensor in tensors.values()}) > 1:
        raise ValueError(f"the state at stage {stage} holds {wanted} of each example, not {given}")
    for name, tensor in tensors.items():
        if not np.issubdtype(tensor.dtype, np.floating):  # bfloat16 is saved as its bits
            raise ValueError(
                f"{name!r} of stage {stage} holds floats here, not {tensor.dtype}: save it from a backend "
                "that keeps its states in float32"
            )
