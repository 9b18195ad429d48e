"""The programs in examples/ run as they stand, short as they are."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from PIL import Image

import anytimenet as an
from anytimenet.native.library import is_there

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_is_one_short_file(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 150


def test_the_sliced_net_needs_no_anytimenet_and_learns() -> None:
    assert "import anytimenet" not in (EXAMPLES / "sliced_net.py").read_text(encoding="utf-8")
    first, second, third = loaded("sliced_net").main()
    assert first > 0.7
    assert third > 0.93
    assert first < second < third + 0.01


def test_a_sliced_net_goes_on_bit_for_bit_where_it_was_stopped() -> None:
    example = loaded("sliced_net")
    torch.manual_seed(0)
    net = example.SlicedNet()
    net(torch.randn(32, 1, 8, 8))  # in training mode: statistics other than 0 and 1
    net.eval()
    image = torch.randn(1, 1, 8, 8)

    def run(stops: bool) -> list[Any]:
        outputs: list[Any] = []
        left: list[list[torch.Tensor]] = []
        for _ in range(3):
            if stops:  # what is left behind goes to disk, or to another process
                left = [[torch.tensor(slice_.tolist()) for slice_ in block] for block in left]
                net(torch.randn(4, 1, 8, 8))
            logits, left = net.resume(image, left)
            outputs.append(logits)
        return outputs

    for stopped, straight, whole in zip(run(True), run(False), net(image), strict=True):
        assert torch.equal(stopped, straight)
        torch.testing.assert_close(stopped, whole, rtol=1e-4, atol=1e-4)


def test_a_slice_reads_no_later_one() -> None:
    example = loaded("sliced_net")
    net = example.SlicedNet().eval()
    image = torch.randn(1, 1, 8, 8)
    before = net(image)
    with torch.no_grad():
        for block in net.blocks:
            block.mix.rows[2].add_(1)
            block.conv.weight[example.EDGES[2] :].add_(1)
    after = net(image)
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


def test_a_bundle_is_made_ready_for_deadlines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    example = loaded("deadline_ready")
    *in_time, small, large = example.main(tmp_path)
    stages = [prediction.stage for prediction in in_time]
    assert len(stages) == 3
    assert all(1 <= stage <= 4 for stage in stages)
    assert small.stage <= large.stage
    assert not small.over_budget
    assert "99 % within" in capsys.readouterr().out


def test_a_net_answers_while_it_arrives(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = loaded("progressive").main(tmp_path, rate=2_000_000, epochs=1)
    stages = [answer.stage for answer in answers]
    assert stages == sorted(set(stages))
    assert stages[-1] == 4
    assert "4 of 4 stages are in" in capsys.readouterr().out


def test_a_camera_is_answered_while_a_load_comes_and_goes(tmp_path: Path) -> None:
    example = loaded("camera_loop")
    cores = os.sched_getaffinity(0)
    runs = example.main(tmp_path, "isresnext_tiny", seconds=1.2, minutes=0.02)
    assert os.sched_getaffinity(0) == cores
    for answers, report in runs.values():
        assert report.frames == 36
        assert report.answers + report.skipped == 36
        assert [answer.frame for answer in answers][-1] == 35
        assert report.failed == 0
    assert set(runs["full net"][1].stages) == {3}
    assert set(runs["anytime"][1].stages) <= {1, 2, 3}
    with Image.open(tmp_path / "camera_loop.png") as picture:
        assert len(set(picture.convert("L").resize((60, 30)).tobytes())) > 20  # something is drawn


def test_the_load_of_the_camera_example_is_started_and_stopped() -> None:
    load = loaded("camera_loop").Load(seconds=4.0)
    counts = []
    for elapsed in (0.0, 1.0, 2.0, 1.5, 3.0, 8.0):
        load.set_for(elapsed)
        assert all(process.poll() is None for process in load._busy)
        counts.append(len(load._busy))
    assert counts == [0, 1, 2, 1, 0, 0]


def test_backends_are_compared_on_a_trained_net(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = an.create_net("isresnext_tiny", num_classes=10, in_channels=1)
    bundle = an.fit(net, "digits", config=an.TrainConfig(epochs=1), progress=False)
    folder, picture = bundle.save(tmp_path / "bundle"), tmp_path / "backends.png"
    names = ["eager", *(["native"] if is_there() else [])]
    times = loaded("backends").main(folder, picture, rounds=2, names=names)
    assert list(times) == names
    for alone, steps in times.values():
        assert len(alone) == 3
        assert min(*alone, steps) > 0
    assert "accuracy %" in capsys.readouterr().out
    with Image.open(picture) as drawn:
        assert len(set(drawn.convert("L").resize((60, 30)).tobytes())) > 20
