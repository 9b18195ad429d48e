"""ONNX Runtime on buffers that are written in place: eager PyTorch's numbers, on every path."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anytimenet import Bundle, Preprocessing, create_net
from anytimenet.export import export
from anytimenet.runtime import ExportedNet
from anytimenet.testing import check_backend
from anytimenet.testing.net_under_test import redraw
from anytimenet.testing.segments import some_paths

ALL = [(start, stop) for start in range(3) for stop in range(start + 1, 4)]


@pytest.fixture(scope="module", params=["isresnext_tiny", "iresnext_tiny", "densenet_tiny"])
def ready(request, tmp_path_factory):
    net = create_net(request.param).eval()
    redraw(net, torch.Generator().manual_seed(0))
    bundle = Bundle.create(
        net,
        class_names=[[f"class {i}" for i in range(10)]],
        preprocessing=Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3),
    )
    folder = export(bundle, tmp_path_factory.mktemp("onnx") / "folder", segments=ALL)
    return net.snapshot(), ExportedNet.load(folder)


def images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8, generator=torch.Generator().manual_seed(batch))


def near(found: np.ndarray, wanted: torch.Tensor, tolerance: float) -> bool:
    return float(np.abs(found - wanted.numpy()).max()) <= tolerance * float(wanted.abs().max())


@pytest.mark.parametrize("batch", [1, 3])
def test_every_path_gives_eager_pytorchs_outputs_and_states(ready, batch):
    snapshot, exported = ready
    backend = exported.backend
    for path in some_paths(3):
        eager, state = (images(batch),), backend.begin(images(batch).numpy())
        for start, stop in path:
            segment = snapshot.segment(start, stop)
            eager, expected = segment(eager)
            state, output = backend.run(start, stop, state)
            assert all(near(a, b, backend.tolerance) for a, b in zip(output, expected, strict=True))
            saved = backend.save(state)
            assert list(saved) == (list(segment.writes) if stop < 3 else [])
            assert all(near(a, b, backend.tolerance) for a, b in zip(saved.values(), eager, strict=True))


def test_runs_of_one_path_are_equal_bit_for_bit_also_when_they_take_turns_or_are_restored(ready):
    _, exported = ready
    backend, x = exported.backend, images(1).numpy()

    def steps(state):
        for stage in range(1, 4):
            state, output = backend.run(stage - 1, stage, state)
            yield stage, state, output

    alone = [output[0] for _, _, output in steps(backend.begin(x))]
    others = steps(backend.begin(images(2)[:1].numpy()))
    for (_, _, output), wanted, _ in zip(steps(backend.begin(x)), alone, others, strict=True):
        assert np.array_equal(output[0], wanted)
    state, _ = backend.run(0, 1, backend.begin(x))
    saved = backend.save(state)
    backend.release(state)
    _, output = backend.run(1, 2, backend.restore(1, saved))
    assert np.array_equal(output[0], alone[1])


def test_rows_go_on_alone(ready):
    _, exported = ready
    backend, x = exported.backend, images(3).numpy()
    state, _ = backend.run(0, 1, backend.begin(x))
    state = backend.rows(state, [2, 0])
    assert state.batch == 2
    _, output = backend.run(1, 3, state)
    whole, _ = backend.run(0, 1, backend.begin(x))
    _, wanted = backend.run(1, 3, whole)
    assert np.allclose(output[0], wanted[0][[2, 0]], atol=1e-5)


def test_a_state_is_used_up_and_belongs_to_a_stage(ready):
    _, exported = ready
    backend = exported.backend
    state = backend.begin(images(1).numpy())
    with pytest.raises(ValueError, match="is at stage 0"):
        backend.run(1, 2, state)
    backend.run(0, 1, state)
    with pytest.raises(ValueError, match="used up"):
        backend.run(0, 1, state)
    with pytest.raises(ValueError, match="state at stage 1 holds"):
        backend.restore(1, {"x": images(1).numpy()})
    with pytest.raises(ValueError, match="inputs"):
        backend.begin(images(1).numpy()[:, :2])


def test_only_what_runs_is_prepared_and_its_bytes_are_told(ready):
    _, exported = ready
    fresh = ExportedNet.load(exported.folder)
    assert not fresh.backend.prepared
    fresh.backend.prepare(0, 2)
    assert fresh.backend.prepared == {(0, 2): exported.spec_of(0, 2).weight_bytes}
    assert fresh.backend.nbytes == exported.spec_of(0, 2).weight_bytes


def test_states_in_float16_take_half_the_memory_and_give_nearly_the_same(tmp_path):
    shape = (3, 8, 8)

    def make(state_dtype):
        def backend(net):
            look = Preprocessing(8, 8, 3, (0.5,) * 3, (0.5,) * 3)
            bundle = Bundle.create(net, class_names=[[f"class {i}" for i in range(10)]], preprocessing=look)
            folder = export(bundle, tmp_path / state_dtype, segments=ALL, state_dtype=state_dtype)
            made.append(ExportedNet.load(folder).backend)
            return made[-1]

        return backend

    made = []
    net = create_net("isresnext_tiny")
    check_backend(make("float16"), net, shape)
    make("float32")(net)
    x = images(1).numpy()
    halves, wholes = ({n: t.nbytes for n, t in b.save(b.run(0, 2, b.begin(x))[0]).items()} for b in made)
    assert halves.pop("x") == wholes.pop("x")
    assert {name: 2 * size for name, size in halves.items()} == wholes


def test_a_state_of_bits_that_are_no_numbers_here_is_refused(ready):
    _, exported = ready
    state, _ = exported.backend.run(0, 1, exported.backend.begin(images(1).numpy()))
    saved = exported.backend.save(state)
    bits = {name: (tensor.view(np.uint32) >> 16).astype(np.uint16) for name, tensor in saved.items()}
    with pytest.raises(ValueError, match="floats here, not uint16: save it from a backend that"):
        exported.backend.restore(1, bits)  # as eager PyTorch saves a state in bfloat16
