"""Small programs for tests: operators in the body of the first of two stages, whose results are its state."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from anytimenet.export.native_program import Code, Kind, Op, ProgramWriter, StageRows, View
from anytimenet.export.stored import Stored
from anytimenet.native.engine import Engine

CLASSES = 3


class SmallProgram:
    """A program with one shard, which grows with each weight.

    Args:
        input_shape: (C, H, W).
    """

    def __init__(self, input_shape: tuple[int, int, int]) -> None:
        self.writer = ProgramWriter(["weights"])
        self.shard = bytearray()
        self.x = self.writer.view(self.writer.tensor(Kind.INPUT, *input_shape))
        self.body: list[Op] = []
        self.kept: list[View] = []

    def weight(self, values: np.ndarray) -> int:
        """The number of a weight of these values."""
        place = len(self.shard)
        self.shard += np.ascontiguousarray(values, np.float32).tobytes()
        return self.writer.weight(Stored("weights", place, values.shape))

    def tensor(self, kind: Kind, channels: int, height: int, width: int) -> View:
        """All of a new tensor; what is kept is part of the state."""
        view = self.writer.view(self.writer.tensor(kind, channels, height, width))
        if kind == Kind.KEPT:
            self.kept.append(view)
        return view

    def to_bytes(self) -> bytes:
        """The file: after the body each stage pools the first tensor that is kept."""
        first = self.kept[0]
        weight = self.weight(np.ones((CLASSES, first.channels), np.float32))
        state = [(self.x.tensor, self.x.channels)]
        stages = [StageRows(state=state)]
        for stage in (1, 2):
            pooled = self.writer.view(self.writer.tensor(Kind.SCRATCH, first.channels, flat=True))
            output = self.writer.view(self.writer.tensor(Kind.OUTPUT, CLASSES, flat=True))
            head = [Op(Code.MEAN, pooled, first), Op(Code.LINEAR, output, pooled, weight=weight)]
            kept = [*state, *((view.tensor, view.channels) for view in self.kept)] if stage == 1 else []
            body = self.body if stage == 1 else []
            stages.append(StageRows(body, head, kept, [output.tensor], answers=True))
        self.writer.stages = stages
        return self.writer.to_bytes()

    def engine(self, instruction_set: str | None = None) -> Engine:
        """The loaded program."""
        return Engine(self.to_bytes(), [bytes(self.shard)], instruction_set=instruction_set)

    def results(self, x: np.ndarray, instruction_set: str | None = None) -> list[np.ndarray]:
        """What is kept, after a run on poisoned memory, and the logits."""
        session = self.engine(instruction_set).session(poison=True)
        session.begin(x)
        session.run(1)
        found: Sequence[np.ndarray] = session.state()[1:]
        shaped = [
            array.reshape(view.channels, view.height, view.width)
            for array, view in zip(found, self.kept, strict=True)
        ]
        return [*shaped, session.output(1)]
