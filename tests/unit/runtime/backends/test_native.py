"""The native engine as a backend: eager PyTorch's numbers on every path, and what a stop leaves behind."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.core.errors import BackendError
from anytimenet.export import export
from anytimenet.export.native_files import program_of
from anytimenet.export.stored import StoredWeights
from anytimenet.native import library
from anytimenet.runtime import ExportedNet, Placement
from anytimenet.runtime.backends.native import Native
from anytimenet.testing import check_backend
from anytimenet.testing.net_under_test import redraw

if not library.is_there():
    pytest.skip("no engine", allow_module_level=True)

FAMILIES = [
    ("isresnext_tiny", {}),
    ("isresnext_tiny", {"exits_after": (1, 3)}),
    ("isresnext_tiny", {"slices": (1, 2, 3), "exits_after": (2, 3), "width": 24}),
    ("isresnext_tiny", {"stem_bn": True, "num_classes": (10, 4)}),
    ("iresnext_tiny", {}),
    ("doubling_width_tiny", {}),
    ("doubling_depth_tiny", {}),
    ("doubling_both_tiny", {}),
    ("resnext_tiny", {}),
    ("resnext_exits_tiny", {}),
    ("efficientnet_lite_tiny", {}),
    ("resnet_tiny", {}),
    ("plain_chain_tiny", {}),
    ("msdnet_tiny", {}),
    ("densenet_tiny", {}),
    ("eann_tiny", {}),
]


def bundle_of(net, side: int = 8) -> Bundle:
    names = [[f"class {level}.{i}" for i in range(classes)] for level, classes in enumerate(net.num_classes)]
    return Bundle.create(
        net,
        class_names=names,
        preprocessing=Preprocessing(side, side, 3, (0.5,) * 3, (0.5,) * 3),
    )


def exported(net, folder, side: int = 8) -> ExportedNet:
    stages = range(1, net.num_stages + 1)
    every = [(start, stop) for stop in stages for start in range(stop)]
    return ExportedNet.load(export(bundle_of(net, side), folder, format="native", segments=every))


@pytest.mark.parametrize(("name", "arguments"), FAMILIES)
def test_every_family_keeps_what_a_backend_promises(name, arguments, tmp_path):
    side = 16 if "exits" in name else 8
    net = create_net(name, **arguments)
    check_backend(lambda own: exported(own, tmp_path / "folder", side).backend, net, (3, side, side))


@pytest.fixture(scope="module")
def sliced(tmp_path_factory) -> ExportedNet:
    net = create_net("isresnext_tiny").eval()
    redraw(net, torch.Generator().manual_seed(0))
    return exported(net, tmp_path_factory.mktemp("native") / "folder")


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 8, 8)).astype(np.float32)


def outputs_of(backend, x) -> dict[int, bytes]:
    state, found = backend.begin(x), {}
    for stop in (1, 2, 3):
        state, output = backend.run(stop - 1, stop, state)
        found[stop] = output[0].tobytes()
    return found


def test_all_paths_are_equal_bit_for_bit(sliced):
    backend, x = sliced.backend, image()
    wanted = outputs_of(backend, x)
    for path in ([(0, 3)], [(0, 2), (2, 3)], [(0, 1), (1, 3)]):
        state = backend.begin(x)
        for start, stop in path:
            state, output = backend.run(start, stop, state)
            assert output[0].tobytes() == wanted[stop]


def test_a_run_that_is_stopped_anywhere_keeps_its_stages_and_can_go_on(sliced):
    backend, x = sliced.backend, image(1)
    wanted, reached = outputs_of(backend, x), set()
    for polls in range(200):
        state = backend.begin(x)
        state.sessions[0].cancel_after(polls)
        state, answered, output = backend.run_until(3, state)
        assert answered == state.stage
        assert (output is None) == (answered == 0)
        if output is not None:
            assert output[0].tobytes() == wanted[answered]
        reached.add(state.stage)
        if state.stage == 3:
            break
        again = backend.restore(state.stage, backend.save(state))
        for own in (state, again):
            assert backend.run(state.stage, 3, own)[1][0].tobytes() == wanted[3]
    assert reached == {0, 1, 2, 3}


def test_the_best_validated_stage_answers_where_a_run_ends(sliced):
    backend, x = sliced.backend, image(2)
    wanted = outputs_of(backend, x)
    for polls in range(200):
        state = backend.begin(x)
        state.sessions[0].cancel_after(polls)
        state, answered, output = backend.run_until(3, state, answers=(0, 1, 1, 3))
        assert answered == (1 if state.stage in (1, 2) else state.stage)
        if output is not None:
            assert output[0].tobytes() == wanted[answered]
        if state.stage == 3:
            return
    pytest.fail("the run never became whole")


def test_a_deadline_that_has_passed_ends_the_run_with_the_stage_that_is_owed(sliced):
    backend, later = sliced.backend, time.monotonic_ns() + 10**12
    for least in (1, 2):
        past = time.monotonic_ns() - 1
        state, answered, _ = backend.run_until(3, backend.begin(image()), deadline_ns=past, least=least)
        assert (state.stage, answered) == (least, least)
    state, answered, _ = backend.run_until(3, backend.begin(image()), deadline_ns=later)
    assert (state.stage, answered) == (3, 3)


def test_another_thread_cancels_the_next_run_and_no_other(sliced):
    backend, state = sliced.backend, sliced.backend.begin(image())
    other = threading.Thread(target=backend.cancel, args=(state,))
    other.start()
    other.join()
    state, answered, output = backend.run_until(3, state)
    assert (state.stage, answered, output) == (0, 0, None)
    assert backend.run_until(3, state)[1] == 3


def test_a_network_that_is_its_own_head_answers_with_what_it_has(tmp_path):
    net = create_net("iresnext_tiny").eval()
    backend = exported(net, tmp_path / "folder").backend
    state = backend.begin(image())
    state, first = backend.run(0, 1, state)
    state.sessions[0].cancel_after(3)
    state, answered, output = backend.run_until(2, state)
    assert answered == 1
    assert output[0].tobytes() == first[0].tobytes()
    cancelled = backend.begin(image())
    backend.cancel(cancelled)
    with pytest.raises(BackendError, match="cancelled"):
        backend.run(0, 3, cancelled)


def test_images_of_a_batch_run_in_threads_with_the_same_numbers(sliced):
    x = np.concatenate([image(seed) for seed in range(5)])
    several = Native(sliced, Placement(threads=2))
    state = several.begin(x)
    _, output = several.run(0, 3, state)
    for row in range(5):
        assert output[0][row : row + 1].tobytes() == outputs_of(sliced.backend, x[row : row + 1])[3]


def test_the_first_files_are_a_smaller_net(sliced, tmp_path):
    import shutil

    part = tmp_path / "part"
    shutil.copytree(sliced.folder, part)
    (part / "model-00003-of-00003.safetensors").unlink()
    smaller, x = ExportedNet.load(part, stages=2), image()
    state, output = smaller.backend.run(0, 2, smaller.backend.begin(x))
    assert output[0].tobytes() == outputs_of(sliced.backend, x)[2]
    assert smaller.backend.save(state) == {}


def test_other_folders_and_places_are_refused(sliced, tmp_path):
    with pytest.raises(BackendError, match="on cpu in float32"):
        Native(sliced, Placement(device="cuda"))
    onnx = ExportedNet.load(export(bundle_of(create_net("isresnext_tiny")), tmp_path / "onnx"))
    with pytest.raises(BackendError, match="format='native'"):
        Native(onnx)


@pytest.mark.parametrize(
    ("name", "operator"),
    [("fcn_exits_tiny", "a convolution that is dilated"), ("ranet_tiny", "upsample_bilinear2d.vec")],
)
def test_a_net_with_an_operator_that_the_engine_lacks_is_refused_by_its_name(name, operator):
    net = create_net(name).eval()
    with pytest.raises(BackendError, match=f"the native engine, which does not have {operator}"):
        program_of(net, net.input_spec.smallest_shape, StoredWeights(net))
