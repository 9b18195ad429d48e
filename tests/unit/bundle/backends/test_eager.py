"""The eager backend: states of its own, the process's settings left as they were, bytes that are true."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import numpy as np
import pytest
import torch

from anytimenet.bundle import Bundle
from anytimenet.bundle.backends.eager import EagerBackend, EagerRunner
from anytimenet.bundle.backends.settings import ExactFloat32, exact_float32, threads_of_operators
from anytimenet.core.errors import BackendError, StatisticsMissingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.runtime import Placement, backends_of
from anytimenet.testing.net_under_test import count_as_estimated, redraw

SHAPE = (3, 8, 8)


def filled(name: str = "isresnext_tiny") -> AnytimeNet:
    net = create_net(name).eval()
    redraw(net, torch.Generator().manual_seed(0))
    return net


def images(batch: int = 2) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((batch, *SHAPE)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> AnytimeNet:
    return filled()


def test_a_bundle_satisfies_what_sessions_read(net: AnytimeNet):
    preprocessing = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[list("abcdefghij")], preprocessing=preprocessing)
    assert "eager" in backends_of(bundle)
    assert bundle.backend is bundle.backend
    assert bundle.backend.placement == Placement()
    model = bundle.prepared(threads=2, dtype="float64")
    assert model.manifest is bundle.manifest
    assert model.backend.placement == Placement(threads=2, dtype="float64")
    _, output = bundle.backend.run(0, 3, bundle.backend.begin(images()))
    copy = pickle.loads(pickle.dumps(bundle))
    _, again = copy.backend.run(0, 3, copy.backend.begin(images()))
    assert np.array_equal(output[0], again[0])
    with pytest.raises(BackendError, match=r"no backend 'egaer'.*did you mean 'eager'"):
        bundle.prepared("egaer")


def test_a_state_holds_memory_of_its_own(net: AnytimeNet):
    backend, x = EagerBackend(net), images()
    _, expected = backend.run(0, 3, backend.begin(x))
    state = backend.begin(x)
    x[:] = 0
    state, _ = backend.run(0, 1, state)
    saved = backend.save(state)
    _, output = backend.run(1, 3, state)
    assert np.allclose(output[0], expected[0], atol=1e-5)
    restored = backend.restore(1, saved)
    for array in saved.values():
        array[:] = 0
    _, again = backend.run(1, 3, restored)
    assert np.array_equal(output[0], again[0])


def test_a_state_that_is_used_up_is_told_and_frees_its_memory(net: AnytimeNet):
    backend = EagerBackend(net)
    first = backend.begin(images())
    second, _ = backend.run(0, 1, first)
    assert first.nbytes == 0 < second.nbytes
    with pytest.raises(ValueError, match="stage 0 is used up"):
        backend.run(0, 2, first)
    with pytest.raises(ValueError, match="at stage 1, and the segment starts at 2"):
        backend.run(2, 3, second)
    backend.release(second)
    assert second.nbytes == 0
    with pytest.raises(ValueError, match="used up"):
        backend.save(second)
    with pytest.raises(TypeError, match="not a str"):
        backend.run(0, 1, "state")  # type: ignore[arg-type]


def test_what_is_no_state_of_that_stage_is_refused(net: AnytimeNet):
    backend = EagerBackend(net)
    state, _ = backend.run(0, 1, backend.begin(images()))
    saved = backend.save(state)
    for wrong in (
        {name: array for name, array in saved.items() if name != "features"},
        {**saved, "features": saved["features"][:1]},
        {**saved, "features": saved["features"][:, :1]},
        {**saved, "features": saved["features"].astype(np.float64)},
    ):
        with pytest.raises(ValueError, match=r"features|one batch"):
            backend.restore(1, wrong)


def test_input_that_the_net_cannot_read_is_refused(net: AnytimeNet):
    backend = EagerBackend(net)
    with pytest.raises(ValueError, match="1 channels"):
        backend.begin(images()[:, :1])
    with pytest.raises(ValueError, match="uint8"):
        backend.begin(np.zeros((1, *SHAPE), np.uint8))
    with pytest.raises(TypeError, match="Tensor"):
        backend.begin(torch.zeros(1, *SHAPE))  # type: ignore[arg-type]


def test_numbers_that_are_not_finite_are_given_as_they_are(net: AnytimeNet):
    backend = EagerBackend(net)
    _, output = backend.run(0, 1, backend.begin(np.full((1, *SHAPE), np.nan, np.float32)))
    assert np.isnan(output[0]).all()


def test_segments_are_made_once_counted_and_dropped(net: AnytimeNet):
    backend = EagerBackend(net, input_shape=SHAPE)
    assert (backend.prepared, backend.nbytes) == ({}, 0)
    backend.prepare(0, 1)
    backend.prepare(0, 1)
    alone = backend.nbytes
    assert backend.prepared == {(0, 1): alone}
    weights = sum(t.numel() * t.element_size() for t in net.segment(0, 1).state_dict().values())
    assert 0.5 * weights < alone < weights  # folded norms have gone
    backend.prepare(1, 3)
    both = backend.nbytes
    assert sum(backend.prepared.values()) <= both <= alone + sum(backend.prepared.values())
    backend.keep_only([(1, 3)])
    assert list(backend.prepared) == [(1, 3)]
    assert backend.nbytes < both
    with pytest.raises(ValueError, match=r"\(2, 2\) does not exist"):
        backend.prepare(2, 2)


def test_views_share_the_weights_that_folded_segments_copy(net: AnytimeNet):
    sizes = {}
    for fold in (False, True):
        backend = EagerBackend(net, fold=fold, contiguous=fold, merge=fold)
        for pair in backend.segments:
            backend.prepare(*pair)
        sizes[fold] = backend.nbytes
    whole = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    assert sizes[False] <= whole < sizes[True]


def test_a_later_training_step_changes_nothing():
    net = filled()
    backend, x = EagerBackend(net), images()
    _, before = backend.run(0, 3, backend.begin(x))
    redraw(net, torch.Generator().manual_seed(9))
    backend.prepare(1, 3)
    _, after = backend.run(0, 3, backend.begin(x))
    assert np.array_equal(before[0], after[0])


def test_statistics_that_are_missing_can_be_estimated_later():
    net = create_net("universally_slimmable_tiny").eval()
    backend = EagerBackend(net)
    with pytest.raises(StatisticsMissingError):
        backend.prepare(0, 1)
    count_as_estimated(net)
    backend.prepare(0, 1)


def test_a_run_uses_its_threads_and_leaves_the_number_as_it_was(net: AnytimeNet):
    seen: list[int] = []
    backend = EagerBackend(net, Placement(threads=2))
    runner = backend._runner(0, 1)
    assert isinstance(runner, EagerRunner)
    head = runner.segment.get_submodule("head")
    head.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    backend.run(0, 1, backend.begin(images()))
    assert (seen, torch.get_num_threads()) == ([2], before)


def test_the_threads_of_one_thread_are_not_those_of_another():
    inside: list[int] = []
    torch.get_num_threads()

    def other() -> None:
        torch.get_num_threads()
        torch.set_num_threads(1)
        entered.set()
        go_on.wait(10)
        inside.append(torch.get_num_threads())

    entered, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(10)
    with threads_of_operators(3):
        go_on.set()
        thread.join()
        assert torch.get_num_threads() == 3
    assert inside == [1]


def test_float32_is_exact_while_any_thread_is_inside(monkeypatch: pytest.MonkeyPatch):
    conv: Any = torch.backends.mkldnn.conv  # type: ignore[attr-defined]
    before = conv.fp32_precision
    exact = ExactFloat32("cpu")
    try:
        conv.fp32_precision = "bf16"
        with exact:
            assert conv.fp32_precision == "ieee"
            with exact:
                pass
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == "bf16"
        one, other = exact_float32("cpu"), exact_float32("cpu")  # of two backends in two threads
        one.__enter__()
        with other:
            one.__exit__()
            assert conv.fp32_precision == "ieee"
        assert conv.fp32_precision == "bf16"
    finally:
        conv.fp32_precision = before


def test_all_backends_of_a_device_keep_float32_exact_together(net: AnytimeNet):
    assert EagerBackend(net)._exact is EagerBackend(net)._exact


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-5), ("float16", 1e-2), ("bfloat16", 5e-2)])
def test_other_number_formats_agree_within_what_they_say(net: AnytimeNet, dtype: str, tolerance: float):
    plain, backend = EagerBackend(net), EagerBackend(net, Placement(dtype=dtype))
    assert backend.tolerance == tolerance
    state, _ = backend.run(0, 1, backend.begin(images()))
    state = backend.restore(1, backend.save(state))
    _, output = backend.run(1, 3, state)
    _, expected = plain.run(0, 3, plain.begin(images()))
    assert output[0].dtype == np.float32
    assert np.abs(output[0] - expected[0]).max() <= tolerance * np.abs(expected[0]).max()


def test_places_and_formats_that_are_not_there_are_told(net: AnytimeNet):
    with pytest.raises(BackendError, match="float8_e4m3fn: float32"):
        EagerBackend(net, Placement(dtype="float8_e4m3fn"))
    with pytest.raises(BackendError, match="device 'cuda:99'"):
        EagerBackend(net, Placement("cuda:99"))
    with pytest.raises(BackendError, match="device 'meta'"):
        EagerBackend(net, Placement("meta"))


def test_states_of_16_bits_take_half_beside_the_input(net: AnytimeNet):
    sizes = {}
    for state_dtype in (None, "float16"):
        backend = EagerBackend(net, state_dtype=state_dtype)
        state, _ = backend.run(0, 1, backend.begin(images()))
        sizes[state_dtype] = state.nbytes - images().nbytes
        assert {array.dtype for name, array in backend.save(state).items() if name != "x"} == {
            np.dtype(state_dtype or "float32")
        }
    assert sizes["float16"] * 2 == sizes[None]
    with pytest.raises(BackendError, match="no states in float8_e5m2"):
        EagerBackend(net, state_dtype="float8_e5m2")
