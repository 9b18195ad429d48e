"""The format "native": one program for all segments, and the weights in the shards of the bundle."""

from __future__ import annotations

from collections.abc import Sequence

from anytimenet.core.errors import BackendError
from anytimenet.core.files.writing import write_bytes, write_text
from anytimenet.core.segments import INPUT, SegmentSpec
from anytimenet.costs.segment_specs import segment_specs
from anytimenet.export.job import Job, Written
from anytimenet.export.native_check import check_program
from anytimenet.export.native_host import HOST, host_text
from anytimenet.export.native_lowering import StepLowering
from anytimenet.export.native_program import Kind, ProgramWriter, StageRows, View
from anytimenet.export.program_cache import kept_program
from anytimenet.export.recording import record
from anytimenet.export.stored import StoredWeights, pieces_of
from anytimenet.export.unknown import UnknownOperatorError
from anytimenet.layers.snapshots import is_hooked
from anytimenet.nets.contract import AnytimeNet

PROGRAM = "program.bin"
_SHORT = 0.5
"""A head of less than this share of its sub-network's work can run when a deadline has come."""


def write(job: Job) -> Written:
    """Writes weights, program, and what hosts without JSON read.

    Raises:
        BackendError: if the net has an operator that the native engine does not have, or the engine, where
            it is there, does not compute with the program what the net computes.
    """
    if any(map(is_hooked, job.net.modules())):
        raise BackendError(
            "functions are registered as hooks of this net, and the native engine calls none: remove them, "
            "or run it with PyTorch"
        )
    stored = StoredWeights(job.net)
    for name, data in stored.files:
        write_bytes(job.folder / name, data)
    shape = job.specs[0].reads[0].shape

    def make() -> bytes:
        program = program_of(job.net, shape, stored, job.every)
        check_program(program, job.net, shape, [data for _, data in stored.files])
        return program

    program = kept_program(job.net, shape, make)
    write_bytes(job.folder / PROGRAM, program)
    if job.manifest is not None:
        write_text(job.folder / HOST, host_text(job.manifest, PROGRAM, [name for name, _ in stored.files]))
    segments = {(spec.start, spec.stop): (PROGRAM,) for spec in job.specs}
    return Written(tuple((name,) for name, _ in stored.files), segments)


def program_of(
    net: AnytimeNet,
    input_shape: tuple[int, ...],
    stored: StoredWeights,
    every: Sequence[SegmentSpec] | None = None,
) -> bytes:
    """The program of all steps of a net in eval mode.

    Args:
        net, stored: the net and its weights.
        input_shape: (C, H, W).
        every: of all its segments, if they are known; else they are counted.

    Raises:
        BackendError: for an operator that the engine does not have.
    """
    counted = segment_specs(net, input_shape) if every is None else every
    specs = {(spec.start, spec.stop): spec for spec in counted}
    if len(input_shape) != 3:
        raise BackendError("the native engine runs nets of images alone: export it with format='onnx'")
    writer = ProgramWriter([name for name, _ in stored.files])
    x = writer.view(writer.tensor(Kind.INPUT, *input_shape))
    state: dict[str, View] = {INPUT: x}
    writer.stages[0].state = [(x.tensor, x.channels)]
    snapshot = net.snapshot()
    for stop in range(1, net.num_stages + 1):
        spec, segment = specs[stop - 1, stop], snapshot.segment(stop - 1, stop)
        following = specs.get((stop, stop + 1))
        try:
            step = StepLowering(
                writer, record(segment, spec), spec, pieces_of(segment, stored), state, last=following is None
            )
        except UnknownOperatorError as error:
            raise BackendError(
                f"segment ({stop - 1}, {stop}) cannot be written for the native engine, which does not have "
                f"{error}: export it with format='onnx'"
            ) from error
        state = {tensor.name: step.state[tensor.name] for tensor in following.reads} if following else {}
        writer.stages.append(_rows(step, state, specs[0, stop]))
    return writer.to_bytes()


def _rows(step: StepLowering, state: dict[str, View], whole: SegmentSpec) -> StageRows:
    short = sum(op.macs for op in step.head) < _SHORT * whole.macs
    kept = [(view.tensor, view.channels) for view in state.values()]
    return StageRows(step.body, step.head, kept, step.outputs, answers=short)
