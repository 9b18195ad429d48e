"""`profile` times the backend that was named, where and how it was told to, and keeps the table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.runtime.fakes.toy import SHAPE, ToyBackend, ToyState

from anytimenet import Bundle, Preprocessing, create_net, load, predictor, profile
from anytimenet.core.errors import BackendError
from anytimenet.export import native_files
from anytimenet.export.folder import as_float32
from anytimenet.export.native_files import program_of as native_program_of
from anytimenet.export.program_cache import place_of
from anytimenet.native.library import is_there
from anytimenet.runtime import Placement, register_backend
from anytimenet.runtime.backends import known
from anytimenet.runtime.profiling.text import table_text


@pytest.fixture
def bundle() -> Bundle:
    net = create_net("isresnext_tiny", num_classes=2, in_channels=1)
    preprocessing = Preprocessing(*SHAPE[1:], 1, mean=(0.5,), std=(0.5,))
    return Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=preprocessing)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Placement]:
    """The placements that a backend named "toy" was made for."""
    monkeypatch.setattr(known, "_known", dict(known._known))
    placements: list[Placement] = []

    def make(source: Bundle, placement: Placement) -> ToyBackend:
        placements.append(placement)
        return ToyBackend(source.num_stages, placement=placement)

    register_backend(Bundle, "toy", make)
    return placements


def test_the_named_backend_is_timed_and_its_table_lies_beside_the_others(
    bundle: Bundle, asked: list[Placement]
) -> None:
    eager = profile(bundle, backend="eager", minutes=0.005, device="cpu")
    toy = profile(bundle, backend="toy", minutes=0.005, threads=2, dtype="bfloat16", batch_sizes=(1, 2))
    assert asked == [Placement("cpu", 2, "bfloat16")]
    assert bundle.cost_tables == {eager.key: eager, toy.key: toy}
    assert (toy.backend, toy.device, toy.threads, toy.dtype) == ("toy", "cpu", 2, "bfloat16")
    assert (toy.batch_sizes, toy.num_stages, eager.backend) == ((1, 2), 3, "eager")
    profile(bundle, backend="toy", device="npu", minutes=0.005)  # a device that only this backend knows
    assert asked[-1].device == "npu"


def test_the_eager_table_knows_states_and_images(bundle: Bundle, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "mine.png")
    table = profile(bundle, backend="eager", minutes=0.005, device="cpu", image=tmp_path / "mine.png")
    assert table.decode is not None
    assert table.preprocess is not None
    assert table.state_bytes == (*(spec.state_bytes for spec in bundle.segment_specs()[:2]), 0)
    assert "torch" in table.machine
    said = table_text(table)
    assert said.startswith("cpu, eager, float32, 1 thread(s)")
    assert "decode an image: " in said
    assert "state of one image after stage 1, 2, ...: " in said


def test_what_a_compiler_makes_is_made_before_the_time_begins(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps and (0, k) alone: the compiler would take all the time for the rest."""

    class Slow(ToyBackend):
        name = "compiled"

        def prepare(self, start: int, stop: int) -> None:
            prepared.append((start, stop))
            super().prepare(start, stop)

        def begin(self, x: np.ndarray) -> ToyState:
            prepared.append(None)
            return super().begin(x)

    prepared: list[tuple[int, int] | None] = []
    monkeypatch.setattr(known, "_known", dict(known._known))
    register_backend(Bundle, "compiled", lambda source, place: Slow(source.num_stages, placement=place))
    table = profile(bundle, backend="compiled", minutes=0.005, device="cpu")
    plans = [(0, 1), (0, 2), (0, 3), (1, 2), (2, 3)]
    assert prepared[: prepared.index(None)] == [*plans, (0, 3)]
    assert sorted({key[:2] for key in table.entries}) == plans


def test_a_backend_that_is_not_there_is_named_with_those_that_are(bundle: Bundle) -> None:
    with pytest.raises(BackendError, match="no backend 'eagre' runs a Bundle: did you mean 'eager'"):
        profile(bundle, backend="eagre")
    with pytest.raises(BackendError, match=r"known are: compiled, .*eager, native, onnxruntime, openvino"):
        profile(bundle, backend="tensorrt")
    assert bundle.cost_tables == {}


def native_or_skip() -> None:
    if not is_there():
        pytest.skip("no engine")


def test_the_native_engine_is_profiled_where_nobody_names_one_and_answers_from_then_on(
    bundle: Bundle, tmp_path: Path
) -> None:
    native_or_skip()
    digit = np.zeros((8, 8), np.uint8)
    before = bundle.predictor("eager").predict(digit, stage=2)
    table = profile(bundle, minutes=0.005, device="cpu")
    assert table.backend == bundle.backend.name == "native"
    after = bundle.predict(digit, stage=2)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-4)
    assert bundle.predict(digit, deadline_ms=1e6).stage == bundle.manifest.best_stage()[0]
    loaded = load(bundle.save(tmp_path / "bundle"))
    assert loaded.backend.name == "native"
    assert np.array_equal(loaded.predict(digit, stage=2).probabilities, after.probabilities)


def test_a_bundle_that_was_profiled_with_pytorch_alone_stays_with_it(bundle: Bundle) -> None:
    profile(bundle, backend="eager", minutes=0.005, device="cpu")
    assert bundle.backend.name == predictor(bundle).model.backend.name == "eager"
    assert bundle.predictor().model.backend.name == "eager"


def test_pytorch_runs_what_the_engine_cannot_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = create_net("ranet_tiny", num_classes=2).eval()  # it interpolates
    side = net.input_spec.smallest_shape[1]
    preprocessing = Preprocessing(side, side, 3, (0.5,) * 3, (0.5,) * 3)
    bundle = Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=preprocessing)
    native_or_skip()
    assert profile(bundle, minutes=0.005, device="cpu").backend == "eager"
    assert "PyTorch runs this net, for the native engine cannot: segment" in caplog.text
    monkeypatch.setattr("anytimenet.runtime.backends.preferred.is_there", lambda: False)
    caplog.clear()
    assert (
        predictor(Bundle.create(net, class_names=[["cat", "dog"]], preprocessing=preprocessing)).policy
        is None
    )
    assert "not in this installation" in caplog.text


def test_a_program_is_made_once_and_a_damaged_one_anew(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    native_or_skip()
    made = []

    def program_of(*asked: Any) -> bytes:
        made.append(asked)
        return native_program_of(*asked)

    monkeypatch.setattr(native_files, "program_of", program_of)
    digit, shape = np.zeros((8, 8), np.uint8), bundle.manifest.input_shape
    answers = [bundle.predictor("native").predict(digit, stage=3).probabilities for _ in range(2)]
    assert len(made) <= 1  # a test before may have made it
    file = place_of(as_float32(bundle.net), shape)
    assert file is not None
    file.write_bytes(file.read_bytes()[:-8])
    answers.append(bundle.predictor("native").predict(digit, stage=3).probabilities)
    assert 1 <= len(made) <= 2
    assert all(np.array_equal(answer, answers[0]) for answer in answers)
