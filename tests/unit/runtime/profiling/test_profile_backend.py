"""A backend is timed as predictions run it, on a fake clock; images are timed beside it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.unit.runtime.fakes.clock import FakeClock
from tests.unit.runtime.fakes.toy import SHAPE, WIDTH, ToyBackend, toy_manifest

from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.core.segments import SegmentSpec
from anytimenet.runtime import Placement
from anytimenet.runtime.profiling.backend import backend_segments, backend_stamp, profile_backend
from anytimenet.runtime.profiling.images import made_up_photo, time_images
from anytimenet.runtime.profiling.timing import time_segments

HERE = {"id": "here"}
PREPROCESSING = toy_manifest().preprocessing


def test_every_segment_takes_what_it_takes_and_no_state_is_left_behind() -> None:
    clock = FakeClock()
    backend = ToyBackend(work=lambda a, b, n: clock.advance(n * (b - a) / 1000))
    table = profile_backend(backend, SHAPE, batch_sizes=(1, 3), minutes=60, machine=HERE, clock=clock)
    assert len(table.entries) == 2 * 10
    for (start, stop, batch), latency in table.entries.items():
        assert latency.median_ms == pytest.approx(batch * (stop - start))
        assert (latency.repeats, latency.estimated) == (50, False)
    assert backend.live == 0


def test_where_and_how_is_recorded_and_the_bytes_of_states() -> None:
    clock = FakeClock()
    placement = Placement("cuda:1", threads=2, dtype="bfloat16")
    backend = ToyBackend(placement=placement, work=lambda *key: clock.advance(0.001))
    table = profile_backend(backend, SHAPE, batch_sizes=(2, 3), minutes=60, machine=HERE, clock=clock)
    assert table.key == "here-cuda-1-toy-2-bfloat16"
    x = int(np.prod(SHAPE)) * 4
    assert table.state_bytes == (x + WIDTH * 4, x + 2 * WIDTH * 4, x + 3 * WIDTH * 4, 0)
    assert (table.decode, table.preprocess) == (None, None)
    assert CostTable.from_json(table.to_json()) == table


def test_steps_alone_are_timed_on_the_states_that_they_lead_to() -> None:
    clock = FakeClock()
    steps = [(0, 1), (1, 2), (2, 3), (3, 4)]
    backend = ToyBackend(segments=steps, work=lambda a, b, n: clock.advance(b / 1000))
    table = profile_backend(backend, SHAPE, minutes=60, machine=HERE, clock=clock)
    assert {key[:2]: latency.median_ms for key, latency in table.entries.items()} == pytest.approx(
        {(0, 1): 1, (1, 2): 2, (2, 3): 3, (3, 4): 4}
    )
    assert backend.live == 0


def test_a_jump_that_few_plans_use_is_let_go_of_when_it_has_been_timed() -> None:
    most = 0

    class LetsGo(ToyBackend):
        def keep_only(self, segments: Iterable[tuple[int, int]]) -> None:
            nonlocal most
            most = max(most, len(self.prepared))
            self.prepared = {pair: self.prepared[pair] for pair in segments}

    backend = LetsGo()
    profile_backend(backend, SHAPE, minutes=0.02, repeats=5, machine=HERE)
    assert sorted(backend.prepared) == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert most == 8


def test_a_segment_that_nothing_leads_to_is_named() -> None:
    with pytest.raises(ValueError, match="no segments lead to stage 2"):
        profile_backend(ToyBackend(segments=[(0, 1), (2, 4)]), SHAPE, machine=HERE)


def test_states_that_were_not_reached_are_told_by_the_specification_or_not_at_all() -> None:
    def table(specs: list[SegmentSpec]) -> CostTable:
        clock = FakeClock()
        backend = ToyBackend(2, work=lambda *key: clock.advance(100))
        return profile_backend(backend, SHAPE, specs=specs, minutes=0.1, machine=HERE, clock=clock)

    step = SegmentSpec(0, 1, (), (), (), macs=1, weight_bytes=1, state_bytes=77)
    assert table([step]).state_bytes == (77, 0)
    assert table([]).state_bytes == ()


def test_the_answers_of_timed_segments_are_those_of_a_run() -> None:
    backend, found = ToyBackend(), []
    prepare = backend_segments(backend, SHAPE)
    work = prepare(1, 3, 2)
    for _ in range(2):
        result: Any = work.run(work.ready())
        found.append(result[1][0])
        work.done(result)
    np.testing.assert_array_equal(found[0], found[1])
    x = np.random.default_rng(0).standard_normal((2, *SHAPE), dtype=np.float32)
    np.testing.assert_array_equal(found[0], backend.outputs(x, [(0, 1), (1, 3)])[1][0])


def test_images_are_timed_within_their_share_of_the_minutes() -> None:
    times = iter(range(10**9))
    decode, preprocess = time_images(PREPROCESSING, minutes=1, clock=lambda: next(times))
    # Every look at the clock takes a second. Thirty each: after five runs at 12, then three looks a run.
    assert (decode.median_ms, decode.repeats) == (1000, 11)
    assert (preprocess.median_ms, preprocess.repeats) == (1000, 11)
    table = profile_backend(ToyBackend(), SHAPE, preprocessing=PREPROCESSING, minutes=0.01, machine=HERE)
    assert table.decode is not None
    assert table.preprocess is not None
    assert table.decode.repeats >= 5


def test_the_image_that_a_person_gives_is_timed(tmp_path: Path) -> None:
    read = []

    class Watched(Preprocessing):
        def decode(self, image: object) -> np.ndarray:
            read.append(image)
            return super().decode(image)  # type: ignore[arg-type]

    Image.new("L", (9, 9)).save(tmp_path / "mine.png")
    time_images(Watched(4, 4, 1, mean=(0.5,), std=(0.5,)), tmp_path / "mine.png", repeats=5)
    assert set(read) == {tmp_path / "mine.png"}
    with pytest.raises(DataError, match="nowhere"):
        time_images(PREPROCESSING, tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("sides", "size"), [({"height": 32, "width": 32}, (64, 48)), ({"shorter_side": 256}, (512, 384))]
)
def test_the_made_up_photo_is_larger_than_what_the_net_needs(
    sides: dict[str, Any], size: tuple[int, int]
) -> None:
    given: dict[str, Any] = {"height": 224, "width": 224, "channels": 3, **sides}
    photo = made_up_photo(Preprocessing(**given, mean=(0.5,) * 3, std=(0.5,) * 3))
    assert photo.size == size


def test_the_stamp_tells_the_version_of_what_runs_the_segments() -> None:
    assert backend_stamp("onnxruntime")["onnxruntime"]
    assert backend_stamp("eager", {"accelerator": "H200"})["accelerator"] == "H200"
    assert "torch" in backend_stamp("compiled")
    assert backend_stamp("toy of mine")["id"] == backend_stamp("eager")["id"]


@pytest.mark.parametrize(
    "options", [{"minutes": 0}, {"batch_sizes": ()}, {"batch_sizes": (0,)}, {"repeats": 0}, {"warmup": -1}]
)
def test_impossible_options_are_refused_before_anything_runs(options: dict[str, object]) -> None:
    backend = ToyBackend()
    with pytest.raises(ValueError, match=next(iter(options))):
        profile_backend(backend, SHAPE, machine=HERE, **options)  # type: ignore[arg-type]
    assert backend.ran == []


def test_a_fast_backend_is_timed_in_the_time_given() -> None:
    found = time_segments(backend_segments(ToyBackend(), SHAPE), 4, minutes=0.02, repeats=5)
    assert len(found) == 10
