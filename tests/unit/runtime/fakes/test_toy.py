"""The toy backend keeps what `Backend` promises, so that tests on it say something about others."""

import numpy as np
import pytest
from tests.unit.runtime.fakes.toy import ToyBackend, toy_images, toy_model

from anytimenet.runtime.backends.backend import Backend


def test_every_path_to_a_stage_gives_its_answer():
    x = toy_images(3)
    backend: Backend = ToyBackend()
    whole = {stop: ToyBackend().outputs(x, [(0, stop)])[0] for stop in (1, 2, 3, 4)}
    for path in ([(0, 1), (1, 2), (2, 3), (3, 4)], [(0, 2), (2, 4)], [(0, 1), (1, 4)]):
        state = backend.begin(x)
        for start, stop in path:
            state, output = backend.run(start, stop, state)
            np.testing.assert_allclose(output[0], whole[stop][0], rtol=backend.tolerance, atol=1e-5)
        assert state.nbytes == 0


def test_a_state_that_was_used_up_is_noticed():
    backend = toy_model().backend
    first = backend.begin(toy_images())
    backend.run(0, 1, first)
    with pytest.raises(AssertionError, match="used up"):
        backend.run(0, 2, first)


def test_rows_and_saved_states_go_on_as_they_were():
    backend, x = ToyBackend(), toy_images(3)
    state, _ = backend.run(0, 2, backend.begin(x))
    saved = backend.save(state)
    _, output = backend.run(2, 3, backend.restore(2, saved))
    np.testing.assert_array_equal(output[0], ToyBackend().outputs(x, [(0, 2), (2, 3)])[1][0])
    _, output = backend.run(2, 3, backend.rows(state, [2, 0]))
    np.testing.assert_array_equal(output[0], ToyBackend().outputs(x[[2, 0]], [(0, 2), (2, 3)])[1][0])
    assert backend.live == 2
