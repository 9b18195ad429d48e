"""Rows of several batches that wait for the same segment, and become a batch again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from anytimenet.runtime.backends.backend import Backend, State
from anytimenet.runtime.policies.policy import Memory


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that came from one batch.

    Attributes:
        rows: their places in the input.
        x: their inputs.
        tensors: their state, by name; empty where a segment starts from the input.
        memory: what the policy keeps of them.
    """

    rows: np.ndarray
    x: np.ndarray
    tensors: Mapping[str, np.ndarray]
    memory: Memory

    def some(self, index: np.ndarray) -> Block:
        """Some of them, in that order."""
        tensors = {name: tensor[index] for name, tensor in self.tensors.items()}
        return Block(self.rows[index], self.x[index], tensors, self.memory.rows(index))


class Pool:
    """Blocks before one segment.

    Args:
        backend: what runs it.
        start: where the segment starts.
        batch: rows of a full batch.
    """

    def __init__(self, backend: Backend, start: int, batch: int) -> None:
        self._backend, self._start, self._batch = backend, start, batch
        self._blocks: list[Block] = []
        self._whole: list[tuple[list[Block], State]] = []

    @property
    def waiting(self) -> int:
        """Rows that wait; a batch that stayed whole counts as full."""
        return self._batch if self._whole else sum(len(block.rows) for block in self._blocks)

    def put(self, block: Block) -> None:
        """Adds rows."""
        self._blocks.append(block)

    def put_all(
        self,
        blocks: Sequence[Block],
        stays: Sequence[np.ndarray],
        memories: Sequence[Memory],
        state: State,
    ) -> None:
        """Adds those rows of the blocks that stay, whose state is in `state`, which is used up."""
        kept = [
            Block(block.rows[stay], block.x[stay], {}, memory)
            for block, stay, memory in zip(blocks, stays, memories, strict=True)
        ]
        count = sum(len(block.rows) for block in kept)
        if count == state.batch == self._batch and self._start:
            self._whole.append((kept, state))
            return
        tensors = self._moved(blocks, stays, count, state)
        first = 0
        for block in kept:
            if rows := len(block.rows):
                own = {name: tensor[first : first + rows] for name, tensor in tensors.items()}
                self._blocks.append(Block(block.rows, block.x, own, block.memory))
            first += rows

    def take(self) -> tuple[list[Block], State]:
        """A batch, full if enough rows wait; its rows block after block, and its state at `start`."""
        if self._whole:
            return self._whole.pop()
        taken, count = [], 0
        while self._blocks and count < self._batch:
            block = self._blocks.pop(0)
            room = self._batch - count
            if len(block.rows) > room:
                self._blocks.insert(0, block.some(np.arange(room, len(block.rows))))
                block = block.some(np.arange(room))
            taken.append(block)
            count += len(block.rows)
        if self._start == 0:
            return taken, self._backend.begin(np.concatenate([block.x for block in taken]))
        tensors = {
            name: np.concatenate([block.tensors[name] for block in taken]) for name in taken[0].tensors
        }
        return taken, self._backend.restore(self._start, tensors)

    def clear(self) -> None:
        """Releases what waits."""
        for _, state in self._whole:
            self._backend.release(state)
        self._whole, self._blocks = [], []

    def _moved(
        self, blocks: Sequence[Block], stays: Sequence[np.ndarray], count: int, state: State
    ) -> Mapping[str, np.ndarray]:
        """The state of the rows that stay, out of the backend."""
        tensors: Mapping[str, np.ndarray] = {}
        if count and self._start:
            firsts = np.cumsum([0, *(len(block.rows) for block in blocks[:-1])])
            index = np.concatenate([first + stay for first, stay in zip(firsts, stays, strict=True)])
            if count < state.batch:
                state = self._backend.rows(state, index.tolist())
            tensors = self._backend.save(state)
        self._backend.release(state)
        return tensors
