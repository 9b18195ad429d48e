"""From a run to what lies still of it, and back: the state, the answers, and what is left of a path."""

from __future__ import annotations

from collections.abc import Callable

from anytimenet.core.errors import SessionError
from anytimenet.core.images.inputs import check_finite_pixels, check_shape
from anytimenet.core.manifest.manifest import Manifest
from anytimenet.runtime.guarded_run import Answer, GuardedRun
from anytimenet.runtime.model import Model
from anytimenet.runtime.paths import check_path
from anytimenet.runtime.saved_session import SavedSession, fingerprint


def saved_from(run: GuardedRun, manifest: Manifest) -> SavedSession:
    """Copies of all that a run needs to go on elsewhere.

    Args:
        run: which the caller is inside of.
        manifest: of its net, which tells that from others.
    """
    # A state that nothing goes on from may hold no tensors: as good as none.
    tensors = {} if run.state is None else run.backend.save(run.state)
    return SavedSession(
        net=fingerprint(manifest),
        x=run.x.copy(),
        at=run.at if tensors else 0,
        tensors=tensors,
        path=run.path,
        left=run.left,
        outputs={stage: answer.output for stage, answer in run.answers.items()},
        times_ms={stage: (one.segment_ms, one.elapsed_ms) for stage, one in run.answers.items()},
        elapsed_ms=run.elapsed_ms,
    )


def run_from(saved: SavedSession, model: Model, clock: Callable[[], float]) -> GuardedRun:
    """The run that was saved, with copies of its own, on the backend of a model of the same net.

    Args:
        saved: what `saved_from` made.
        model: whose backend goes on with it.
        clock: seconds; it goes on from where it stood.

    Raises:
        SessionError: if it was saved with another net.
        ValueError: if its parts do not fit together, the tensors of its state are not those of this backend,
            or it has not all segments that are left.
    """
    if saved.net != fingerprint(model.manifest):
        raise SessionError("this session was saved with another net: restore it with that one")
    check_shape(saved.x.shape, model.manifest.preprocessing, batches=True)
    check_finite_pixels(saved.x)
    saved.check(model.manifest)
    stage = saved.path[-1][1] if saved.path else 0
    backend = model.backend
    left = check_path(saved.left, saved.at, stage, backend.segments)
    run = GuardedRun(backend, saved.x.copy(), clock, clock() - saved.elapsed_ms / 1000)
    if saved.at:
        run.state, run.at = backend.restore(saved.at, saved.tensors), saved.at
    run.path, run.left = saved.path, left
    for start, stop in saved.path:
        if stop not in saved.outputs:  # a deadline ended the run there, and an earlier stage answered
            continue
        run.answers[stop] = Answer(stop, saved.outputs[stop], (start, stop), *saved.times_ms[stop])
    return run
