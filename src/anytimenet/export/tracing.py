"""A segment as a program of ATen operators, and what goes in and comes out of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from anytimenet.core.errors import BackendError
from anytimenet.core.segments import SegmentSpec, TensorSpec
from anytimenet.nets.segment import Segment, State

EXAMPLES = 2
"""In the batch that is traced; one would be taken as a constant."""


@dataclass(frozen=True)
class Traced:
    """A part of a net as a program.

    Attributes:
        name: what it is called.
        program: its inputs and outputs are those told here.
        inputs: the tensors of a state, one example of each.
        outputs: of a segment each tensor of `SegmentSpec.changes`, with `NEW` behind its name, then
            `SegmentSpec.outputs`. Of a tensor that continues another, what is appended alone.
    """

    name: str
    program: ExportedProgram
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


NEW = ".new"
"""Behind the name of a tensor that a segment gives, for one of that name may go in."""

BATCH = "batch"
"""The name of the first dimension, the one that is free."""


def trace(segment: Segment, spec: SegmentSpec) -> Traced:
    """The segment as a program for any batch, of inputs as large as `spec` says.

    Raises:
        BackendError: if it cannot be traced.
    """
    name = f"segment ({spec.start}, {spec.stop})"
    outputs = (*_given(spec), *spec.outputs)
    return Traced(name, _program(Work(segment, spec), spec.reads, name), spec.reads, outputs)


def trace_steps(steps: Sequence[Segment], specs: Sequence[SegmentSpec]) -> Traced:
    """All steps, one after the other, as one program with the output of every stage.

    Raises:
        BackendError: if they cannot be traced.
    """
    outputs = tuple(
        replace(level, name=f"stage{spec.stop}.{level.name}") for spec in specs for level in spec.outputs
    )
    name = f"stages 1 to {len(steps)}"
    return Traced(name, _program(_Steps(steps), specs[0].reads, name), specs[0].reads, outputs)


def _program(module: nn.Module, reads: Sequence[TensorSpec], name: str) -> ExportedProgram:
    state = tuple(
        torch.zeros(EXAMPLES, *tensor.shape, dtype=getattr(torch, tensor.dtype)) for tensor in reads
    )
    batch = Dim(BATCH)
    shapes = (tuple({0: batch} for _ in state),)
    try:
        with torch.no_grad():
            return torch.export.export(module, state, dynamic_shapes=shapes, strict=False)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise BackendError(
            f"{name} cannot be exported ({type(error).__name__}: {reason}): "
            "anytimenet.testing.check_anytime_net(net, input_shape) says what to mend"
        ) from error


def _given(spec: SegmentSpec) -> list[TensorSpec]:
    """The tensors of the state that a segment gives: of one that continues another, what is appended."""
    before = {tensor.name: tensor.shape for tensor in spec.reads}
    found = []
    for tensor in spec.changes:
        shape = list(tensor.shape)
        if tensor.continues is not None and tensor.grows is not None:
            shape[tensor.grows] -= before[tensor.continues][tensor.grows]
        found.append(TensorSpec(tensor.name + NEW, tuple(shape), tensor.dtype))
    return found


class Work(nn.Module):
    """A segment that gives what is new alone, in a flat tuple."""

    def __init__(self, segment: Segment, spec: SegmentSpec) -> None:
        super().__init__()
        self.segment = segment
        self.changes = spec.changes
        self.finished = {tensor.name: tensor.shape for tensor in spec.reads}

    def forward(self, *state: Tensor) -> State:
        new: dict[str, Tensor] = {}

        def join(name: str, old: Tensor | None, appended: Tensor, axis: int) -> Tensor:
            new[name] = appended
            return appended if old is None else torch.cat([old, appended], axis + 1)

        # Whatever the state is kept in, segments compute in float32.
        state = tuple(tensor.float() if tensor.dtype == torch.float16 else tensor for tensor in state)
        changes, output = self.segment.advance(state, join)
        given = [self._given(tensor.name, changes[tensor.name], new) for tensor in self.changes]
        kept = [
            tensor.half() if spec.dtype == "float16" else tensor
            for spec, tensor in zip(self.changes, given, strict=True)
        ]
        return (*kept, *output)

    def _given(self, name: str, whole: Tensor, new: dict[str, Tensor]) -> Tensor:
        spec = next(tensor for tensor in self.changes if tensor.name == name)
        if spec.continues is None or spec.grows is None:
            return whole
        axis, before = spec.grows + 1, self.finished[spec.continues][spec.grows]
        size = whole.shape[axis] - before
        if name in new and new[name].shape[axis] == size:
            return new[name]
        return whole.narrow(axis, before, size)  # it was appended in several pieces


class _Steps(nn.Module):
    """Steps one after the other: the outputs of all stages, in a flat tuple."""

    def __init__(self, steps: Sequence[Segment]) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, *state: Tensor) -> State:
        outputs: list[Tensor] = []
        for step in self.steps:
            state, output = step(state)
            outputs += output
        return tuple(outputs)


def segment_name(name: str) -> str:
    """The name in the segment of a tensor of the traced module."""
    return name.removeprefix("segment.")


def parameters_of(program: ExportedProgram) -> dict[str, str]:
    """The name in the traced module of each parameter and buffer, by the name of its placeholder."""
    signature = program.graph_signature
    return {**signature.inputs_to_parameters, **signature.inputs_to_buffers}


def constants_of(program: ExportedProgram) -> dict[str, Tensor]:
    """Tensors that the program made while it was traced, by the name of their placeholder."""
    named = program.graph_signature.inputs_to_lifted_tensor_constants
    return {place: program.constants[name] for place, name in named.items()}


def user_inputs(program: ExportedProgram) -> Sequence[str]:
    """The placeholders of the state, in order."""
    return [str(name) for name in program.graph_signature.user_inputs]
