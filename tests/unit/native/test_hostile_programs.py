"""Programs and shards that were cut off, changed or made on purpose: refused, and never run out of bounds."""

from __future__ import annotations

import struct
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.unit.native.programs import SmallProgram

from anytimenet.core.errors import BackendError
from anytimenet.export.native_program import Code, Kind, Norm, Op, Window
from anytimenet.native import library
from anytimenet.native.engine import Engine

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)

HUGE = (-1, 2**31 - 1, -(2**31), 1 << 20, 1 << 28, 0)
HEADER = 16


def valid() -> SmallProgram:
    """Every operator once."""
    draw = np.random.default_rng(0)

    def weight(*shape: int) -> int:
        return program.weight(draw.standard_normal(shape).astype(np.float32))

    program = SmallProgram((4, 8, 8))
    norm = Norm(weight(4), weight(4), weight(4), program.weight(np.ones(4, np.float32)), 1e-5)
    one, two, half = (program.tensor(Kind.SCRATCH, 4, side, side) for side in (8, 8, 4))
    out = program.tensor(Kind.KEPT, 8, 4, 4)
    program.body = [
        Op(Code.CONV, one, program.x, None, Window(1, 1, 1, 1), 1, weight(4, 4, 1, 1), weight(4), norm, 0.0),
        Op(Code.CONV, two, one, None, Window(3, 3, 1, 1, 1, 1, 1, 1), 2, weight(4, 2, 3, 3)),
        Op(Code.ADD, one, two, program.x),
        Op(Code.AVERAGE_POOL, half, one, window=Window(2, 2, 2, 2)),
        Op(Code.AFFINE, out.part(0, 4), half, norm=norm),
        Op(Code.ZERO, out.part(4, 8)),
    ]
    return program


PROGRAM = valid()
BYTES = PROGRAM.to_bytes()
SHARD = bytes(PROGRAM.shard)
WORDS = len(BYTES) // 4


def run(program: bytes, shard: bytes = SHARD) -> None:
    """Loads and, if it is let in, runs it: any memory error here ends the tests."""
    engine = Engine(program, [shard])
    session = engine.session(poison=True)
    session.begin(np.ones(engine.input_shape, np.float32))
    if engine.num_stages:
        session.run(engine.num_stages)


def changed(place: int, word: int) -> bytes:
    return BYTES[: 4 * place] + struct.pack("<i", word) + BYTES[4 * place + 4 :]


def test_the_program_that_is_changed_here_runs():
    run(BYTES)


def test_a_program_that_is_cut_off_or_goes_on_is_refused():
    for size in range(0, len(BYTES), 7):
        with pytest.raises(BackendError):
            run(BYTES[:size])
    with pytest.raises(BackendError, match="behind its end"):
        run(BYTES + b"\0\0\0\0")


@pytest.mark.parametrize("word", HUGE)
def test_any_word_may_be_huge_or_negative(word):
    refused = 0
    for place in range(WORDS):
        try:
            run(changed(place, word))
        except BackendError:
            refused += 1
    assert refused > WORDS // 4


@examples(500)
@given(st.lists(st.tuples(st.integers(0, WORDS - 1), st.integers(-2, 20)), min_size=1, max_size=4))
def test_any_words_may_be_other_small_numbers(changes):
    program = BYTES
    for place, word in changes:
        program = program[: 4 * place] + struct.pack("<i", word) + program[4 * place + 4 :]
    with suppress(BackendError):
        run(program)


def test_shards_that_are_too_short_or_not_finite_are_refused():
    for size in (0, 4, len(SHARD) // 2, len(SHARD) - 4):
        with pytest.raises(BackendError, match="outside of its shard"):
            run(BYTES, SHARD[:size])
    for bad in (np.nan, np.inf):
        numbers = np.frombuffer(SHARD, np.float32).copy()
        numbers[3] = bad
        with pytest.raises(BackendError, match="not finite"):
            run(BYTES, numbers.tobytes())
    with pytest.raises(BackendError, match="more shards"):
        Engine(BYTES, [SHARD, SHARD])


def test_without_its_weights_no_stage_can_run():
    assert Engine(BYTES, []).num_stages == 0


def test_what_was_not_written_cannot_be_read():
    program = valid()
    del program.body[0]
    with pytest.raises(BackendError, match="not written"):
        program.engine()


def test_a_state_cannot_be_written_over():
    program = valid()
    data = program.to_bytes()
    assert Engine(data, [bytes(program.shard)]).num_stages == 2
    program.writer.stages[2].body = [Op(Code.ZERO, program.kept[0])]
    with pytest.raises(BackendError, match="state is written over"):
        Engine(program.writer.to_bytes(), [bytes(program.shard)])


def test_operators_that_read_what_they_write_are_refused():
    program = valid()
    pool = program.body[3]
    pool.out, pool.read = pool.read.part(0, 2), pool.read.part(0, 2)
    with pytest.raises(BackendError, match="reads what it writes"):
        program.engine()


def test_chunks_that_overlap_are_refused():
    chunk = PROGRAM.writer._chunks[0]
    first = BYTES.index(chunk)
    shard, low, high, rows, length, _, to, to_stride = struct.unpack("<8i", chunk)
    assert (rows, to) == (1, 0)

    def with_chunk(rows: int, length: int, stride: int) -> Engine:
        other = struct.pack("<8i", shard, low, high, rows, length, stride, to, stride)
        return Engine(BYTES[:first] + other + BYTES[first + 32 :], [SHARD])

    assert with_chunk(2, length // 2, length // 2).num_stages == 2
    with pytest.raises(BackendError, match="leaves its weight"):
        with_chunk(2, length, length)
    with pytest.raises(BackendError, match="no usable shape"):
        with_chunk(2, length // 2, length // 4)
    assert to_stride == length


def test_calls_that_do_not_fit_raise():
    session = PROGRAM.engine().session()
    with pytest.raises(ValueError, match="does not follow"):
        session.run(1)
    with pytest.raises(ValueError, match="is needed, not"):
        session.begin(np.ones((4, 8, 9), np.float32))
    session.begin(np.ones((4, 8, 8), np.float32))
    for stop in (0, 3, -1):
        with pytest.raises(ValueError, match="does not follow"):
            session.run(stop)
    with pytest.raises(ValueError, match="no output"):
        session.output(1)
    with pytest.raises(ValueError, match="answers"):
        session.run(1, answers=[0])
    with pytest.raises(ValueError, match="tensors"):
        session.restore(1, [])
    with pytest.raises(BackendError, match="no such instruction set"):
        PROGRAM.engine("mmx")
