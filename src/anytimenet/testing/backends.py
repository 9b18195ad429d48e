"""Public proof that a backend keeps what `Backend` promises: `check_backend`, for yours and for ours."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Sequence

import numpy as np

from anytimenet.nets.contract import AnytimeNet
from anytimenet.testing.backend_under_test import (
    BATCH,
    BackendUnderTest,
    MakeBackend,
    Path,
    Run,
    copies,
    same,
)
from anytimenet.testing.promise import BreachError, ContractError

SOME = (2, 0)
"""The examples that go on when others leave the batch."""
THREADS = 4
SEVERAL = 4
SHARED = "something of one run is kept where another run uses it; a buffer belongs to one state"


def check_backend(make: MakeBackend, net: AnytimeNet, input_shape: Sequence[int], *, seed: int = 0) -> None:
    """Proves that a backend runs the segments of a net as `Backend` promises, or names the promise it breaks.

    It runs a float32 copy of the net with random weights on three random images, along every path that the
    backend's `segments` allow (of more than 32, along some that take every segment). Meant for small nets: a
    second. Numbers are compared with eager PyTorch's, relative to the largest of a tensor, within the
    backend's `tolerance`. The promises, by name:

    prepared: `prepare` makes a segment ready, twice as well as once; `prepared` and `nbytes` count it; one
        that is not in `segments` raises ValueError.
    paths: the output (float32) of each segment of each path, and the state by name (`save`), are PyTorch's;
        a state tells its stage, batch and bytes, none after the last stage; `x` is left alone.
    again: a second run of each path, the paths in reverse order, is the same bit for bit; outputs that were
        given earlier stay as they were.
    batches: one image alone gives its row of three; three after it give what they gave before, bit for bit.
    save and restore: for every segment, a state that went through bytes goes on bit for bit as the one that
        it was saved of, and both do not touch each other.
    rows: for every segment, some rows of a state, in another order, give those rows of the output.
    runs beside each other: two runs that take turns give bit for bit what each gives alone; what is released
        meanwhile does not disturb them.
    threads: four threads with states of their own give bit for bit what each gives alone.

    Args:
        make: builds the backend of the net that it is given: it saves or exports it, and loads it again.
        net: any net that has values; it is not changed.
        input_shape: (C, H, W) of one image.
        seed: of weights, images and paths.

    Raises:
        ContractError: an AssertionError that names the promise, the place and the likely cause.

    >>> from anytimenet.bundle.backends.eager import EagerBackend
    >>> from anytimenet.nets import create_net
    >>> check_backend(EagerBackend, create_net("isresnext_tiny"), (3, 8, 8))
    """
    subject = BackendUnderTest(make, net, input_shape, seed)
    for name, prove in PROMISES.items():
        try:
            prove(subject)
        except BreachError as breach:
            raise ContractError(name, breach.where, breach.cause) from breach.__cause__
        except Exception as error:
            raise ContractError(
                name,
                f"the backend raised {type(error).__name__}: {error}",
                inspect.getdoc(prove) or "",
            ) from error


def check_prepared(subject: BackendUnderTest) -> None:
    """Segments are prepared once, counted, and refused where there are none."""
    backend = subject.backend
    if backend.num_stages != subject.net.num_stages:
        raise BreachError(f"num_stages is {backend.num_stages}", f"the net has {subject.net.num_stages}")
    for start, stop in sorted(backend.segments):
        backend.prepare(start, stop)
        before = backend.nbytes, dict(backend.prepared)
        backend.prepare(start, stop)
        if (backend.nbytes, dict(backend.prepared)) != before:
            raise BreachError(f"preparing ({start}, {stop}) again changes bytes", "keep what is ready")
    if set(backend.prepared) != set(backend.segments):
        raise BreachError(
            f"prepared are {sorted(backend.prepared)}", f"{sorted(backend.segments)} were prepared"
        )
    if not 0 <= sum(backend.prepared.values()) <= backend.nbytes or not backend.nbytes:
        raise BreachError(
            f"nbytes is {backend.nbytes}, those of segments {backend.prepared}", "it counts all weights once"
        )
    wrong = (subject.net.num_stages, subject.net.num_stages + 1)
    try:
        backend.prepare(*wrong)
    except ValueError:
        return
    raise BreachError(f"segment {wrong} is prepared", "raise ValueError for what is not in segments")


def check_paths(subject: BackendUnderTest) -> None:
    """Every segment of every path gives PyTorch's output and state."""
    truth, backend = subject.truth, subject.backend
    for path in subject.paths:
        x = truth.x.copy()
        state = backend.begin(x)
        _check_facts(state, 0, subject, f"the state before {path}")
        x[:] = np.nan  # the state has a memory of its own
        for start, stop in path:
            where = f"({start}, {stop}) on the path {path}"
            state, output = backend.run(start, stop, state)
            _check_output(output, stop, subject, where)
            _check_facts(state, stop, subject, f"the state after {where}")
            _check_state(copies(backend.save(state)), stop, subject, where)
        backend.release(state)


def check_again(subject: BackendUnderTest) -> None:
    """A run repeated later is the same bit for bit."""
    x = subject.truth.x
    kept: list[tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]] = []
    first = {path: subject.run(path, x) for path in subject.paths}
    for path in reversed(subject.paths):
        state = subject.backend.begin(x)
        for place, (start, stop) in enumerate(path):
            state, output = subject.backend.run(start, stop, state)
            kept.append((output, first[path].outputs[place]))
            if not same(copies(subject.backend.save(state)), first[path].states[place]):
                raise BreachError(f"the state at {stop} differs in a second run of {path}", SHARED)
        subject.backend.release(state)
    for path in subject.paths:
        subject.run(path, subject.images(BATCH, 2))
    for output, expected in kept:
        if not same(output, expected):
            raise BreachError(
                "an output differs in a second run, or was changed by a later run",
                f"outputs are new arrays; {SHARED}",
            )


def check_batches(subject: BackendUnderTest) -> None:
    """Batches of another size give the same rows, and change nothing for those that follow."""
    path, x = max(subject.paths, key=len), subject.truth.x
    before = subject.run(path, x)
    alone = subject.run(path, x[:1])
    for (_, stop), output in zip(path, alone.outputs, strict=True):
        for level, truth in zip(output, subject.truth.outputs[stop - 1], strict=True):
            subject.agree(level, truth[:1], f"the output at {stop} of one image", "it depends on the batch")
    _check_same(subject.run(path, x), before, f"{path} after a run of one image")


def check_save_and_restore(subject: BackendUnderTest) -> None:
    """A saved state goes on bit for bit, and is a copy."""
    backend, x = subject.backend, subject.truth.x
    for before, (start, stop) in subject.every_segment():
        _, expected = backend.run(start, stop, subject.state_at(before, x))
        state = subject.state_at(before, x)
        saved = backend.save(state)
        sent = {name: _through_bytes(array) for name, array in saved.items()}
        for array in saved.values():
            array[...] = 0
        restored = backend.restore(start, sent)
        if not same(copies(backend.save(restored)), sent):
            raise BreachError(f"the state at {start} is not restored as it was", "bit for bit")
        for what, one in (("restored", restored), ("saved", state)):
            after, output = backend.run(start, stop, one)
            if not same(output, expected):
                raise BreachError(
                    f"the {what} state at {start} gives another output by ({start}, {stop})",
                    "save gives copies, and restore puts them where they lay: in the same memory layout",
                )
            backend.release(after)


def check_rows(subject: BackendUnderTest) -> None:
    """Some examples of a batch go on by themselves."""
    for before, (start, stop) in subject.every_segment():
        state = subject.backend.rows(subject.state_at(before, subject.truth.x), list(SOME))
        where = f"rows {SOME} of the state at {start}"
        if (state.stage, state.batch) != (start, len(SOME)):
            raise BreachError(f"{where}: stage {state.stage}, batch {state.batch}", "rows keep the stage")
        state, output = subject.backend.run(start, stop, state)
        for level, truth in zip(output, subject.truth.outputs[stop - 1], strict=True):
            subject.agree(level, truth[list(SOME)], f"{where}: output {stop}", "other rows are taken")
        subject.backend.release(state)


def check_beside(subject: BackendUnderTest) -> None:
    """Runs that take turns do not see each other."""
    backend = subject.backend
    for path in sorted(subject.paths, key=len, reverse=True)[:SEVERAL]:
        inputs = [subject.images(BATCH, seed) for seed in (1, 2)]
        expected = [subject.run(path, x) for x in inputs]
        backend.release(subject.state_at(path[:1], inputs[0]))
        states = [backend.begin(x) for x in inputs]
        gone = subject.state_at(path[:1], subject.images(BATCH, 3))
        for place, (start, stop) in enumerate(path):
            for number in (0, 1):
                states[number], output = backend.run(start, stop, states[number])
                if not same(output, expected[number].outputs[place]):
                    raise BreachError(f"output {stop} on {path} beside another run differs", SHARED)
            if place == 0:
                backend.release(gone)
        for state in states:
            backend.release(state)


def check_threads(subject: BackendUnderTest) -> None:
    """Threads with states of their own do not see each other."""
    inputs = [subject.images(BATCH, seed) for seed in range(THREADS)]
    work = [(subject.paths[number % len(subject.paths)], x) for number, x in enumerate(inputs)]
    expected = [subject.run(path, x) for path, x in work]
    found: dict[int, list[Run] | Exception] = {}

    def run(number: int, path: Path, x: np.ndarray) -> None:
        try:
            found[number] = [subject.run(path, x) for _ in range(3)]
        except Exception as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number, *each)) for number, each in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, truth in enumerate(expected):
        runs = found[number]
        if isinstance(runs, Exception):
            raise BreachError(f"{truth.path} in threads raises {runs!r}", SHARED) from runs
        for each in runs:
            _check_same(each, truth, f"{truth.path} in threads")


PROMISES: dict[str, Callable[[BackendUnderTest], None]] = {
    "prepared": check_prepared,
    "paths": check_paths,
    "again": check_again,
    "batches": check_batches,
    "save and restore": check_save_and_restore,
    "rows": check_rows,
    "runs beside each other": check_beside,
    "threads": check_threads,
}
"""Every promise, in the order in which `check_backend` proves them."""


def _check_output(output: tuple[np.ndarray, ...], stop: int, subject: BackendUnderTest, where: str) -> None:
    truth = subject.truth.outputs[stop - 1]
    if not isinstance(output, tuple) or len(output) != len(truth):
        raise BreachError(f"the output of {where} is {output!r}", "a tuple, one array a label level")
    for level, expected in zip(output, truth, strict=True):
        if not isinstance(level, np.ndarray) or level.dtype != np.float32:
            raise BreachError(f"the output of {where} is no float32 array", "give numpy arrays of float32")
        subject.agree(level, expected, f"the output of {where}", "it does other work, or in another format")


def _check_state(saved: dict[str, np.ndarray], stop: int, subject: BackendUnderTest, where: str) -> None:
    truth = subject.truth.states[stop]
    if set(saved) != set(truth):
        raise BreachError(f"the state after {where} has {sorted(saved)}", f"the net's has {sorted(truth)}")
    for name, expected in truth.items():
        subject.agree(saved[name], expected, f"{name!r} of the state after {where}", "it does other work")


def _check_facts(state: object, stage: int, subject: BackendUnderTest, where: str) -> None:
    told = getattr(state, "stage", None), getattr(state, "batch", None)
    if told != (stage, BATCH):
        raise BreachError(f"{where} tells (stage, batch) {told}", f"it is {(stage, BATCH)}")
    nbytes, empty = getattr(state, "nbytes", -1), stage == subject.net.num_stages
    if (nbytes != 0) if empty else (nbytes <= 0):
        raise BreachError(f"{where} tells {nbytes} bytes", "those that dropping it frees, 0 after the last")


def _check_same(got: Run, truth: Run, where: str) -> None:
    outputs = zip(got.outputs, truth.outputs, strict=True)
    states = zip(got.states, truth.states, strict=True)
    if not (all(same(a, b) for a, b in outputs) and all(same(a, b) for a, b in states)):
        raise BreachError(f"{where} differs from the same run alone", SHARED)


def _through_bytes(array: np.ndarray) -> np.ndarray:
    """As it comes out of a file: in the order of its indices, and not to be written to."""
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)
