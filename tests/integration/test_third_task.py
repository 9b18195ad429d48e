"""A task that the package does not know, in one file: images as output, scored by PSNR."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import anytimenet as an
from anytimenet.cli.main import run
from anytimenet.core.errors import DataError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.core.scores import ScoreSpec
from anytimenet.data import DataSplits
from anytimenet.evaluation import compare, curve_figure, read_any_report, spread_of, write_report
from anytimenet.tasks import Labels, register_task

# --- the task -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Restoration:
    """A grey picture for every noisy one: mean squared error, PSNR in dB."""

    num_classes: tuple[int, ...] = (1,)
    augmentation: None = None
    kind: ClassVar[str] = "restoration"
    scores: ClassVar[tuple[ScoreSpec, ...]] = (ScoreSpec("psnr", "PSNR", "dB"), ScoreSpec("mae", "error"))

    def loss(self, output: tuple[Tensor, ...], labels: Labels) -> Tensor:
        return F.mse_loss(*restored(output, labels))

    def meter(self) -> PsnrMeter:
        return PsnrMeter()

    def decode(self, output: tuple[Tensor, ...]) -> Tensor:
        return output[0].clamp(0, 1)


class PsnrMeter:
    """Sums of squared and absolute errors, stage by stage."""

    def __init__(self) -> None:
        self.sums: dict[int, Tensor] = {}

    def update(self, stage: int, output: tuple[Tensor, ...], labels: Labels) -> None:
        found, truth = restored(output, labels)
        error = (found - truth).double()
        new = torch.tensor([error.square().sum(), error.abs().sum(), error.numel()])
        self.sums[stage] = self.sums.get(stage, torch.zeros(3)) + new

    def add_up(self, stages: Sequence[int], total: Callable[[Tensor], Tensor]) -> None:
        for stage in stages:
            self.sums[stage] = total(self.sums.get(stage, torch.zeros(3)))

    def scores(self) -> Mapping[int, float]:
        return {stage: self.stage_scores(stage)["psnr"] for stage in self.sums}

    def stage_scores(self, stage: int) -> Mapping[str, float]:
        squared, absolute, count = self.sums[stage].tolist()
        return {"psnr": -10 * float(np.log10(squared / count)), "mae": absolute / count}


def restored(output: tuple[Tensor, ...], labels: Labels) -> tuple[Tensor, Tensor]:
    """What the net says at the size of the truth, and the truth from 0 to 1."""
    truth = labels[0].unsqueeze(1) / 255
    return F.interpolate(output[0], truth.shape[2:], mode="bilinear"), truth


register_task("restoration", Restoration)


# --- what it costs: nothing else -------------------------------------------------------------------------


def pictures(count: int, seed: int) -> an.MaskSet:
    rng = np.random.default_rng(seed)
    clean = np.kron(rng.integers(40, 200, (count, 2, 3)), np.ones((1, 8, 8))).astype(np.uint8)
    noisy = (clean + rng.normal(0, 25, clean.shape)).clip(0, 255).astype(np.uint8)
    return an.MaskSet(noisy[..., None].repeat(3, 3), clean, tuple(map(str, range(count))))


LOOK = Preprocessing(16, 24, 3, (0.5,) * 3, (0.25,) * 3)
SPLITS = DataSplits(
    "noise", pictures(32, 0), pictures(8, 1), pictures(8, 2), (("grey",),), None, LOOK, "noise-0", 0
)


@pytest.fixture(scope="module")
def bundle() -> an.Bundle:
    config = an.TrainConfig(epochs=2, batch_size=8, device="cpu")
    net = an.create_net("fcn_exits_tiny", num_classes=1)
    return an.fit(net, SPLITS, config=config, task=Restoration(), progress=False)


def test_it_trains_saves_and_is_evaluated_by_its_own_scores(bundle: an.Bundle, tmp_path: Path) -> None:
    assert (bundle.manifest.task_kind, bundle.manifest.score_in_words) == ("restoration", "PSNR")
    loaded = an.load(bundle.save(tmp_path / "bundle"))
    report = an.evaluate(loaded, SPLITS)
    assert (report.task, report.count, report.headline.label) == ("restoration", 8, "PSNR")
    meter = Restoration().meter()
    test = pictures(8, 2)
    batch = torch.from_numpy(LOOK.standardise(test.images))
    truth = torch.from_numpy(test.masks.astype(np.int64))
    with torch.no_grad():
        for stage, output in enumerate(loaded.net.eval()(batch), 1):
            meter.update(stage, output, (truth,))
    assert report.values == pytest.approx(list(meter.scores().values()), rel=1e-5)
    assert report.stages[0].mae == pytest.approx(meter.stage_scores(1)["mae"], rel=1e-5)
    assert f"{report.values[0]:.1f} " in report.table()
    assert "PSNR dB" in report.table()


def test_its_report_is_read_compared_and_drawn_where_nobody_knows_the_task(
    bundle: an.Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = an.evaluate(bundle, SPLITS)
    told = json.loads((write_report(report, tmp_path / "one") / "report.json").read_text())
    assert (told["kind"], told["scores"][0]["label"]) == ("restoration", "PSNR")
    told["kind"] = "nobody knows"
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "report.json").write_text(json.dumps(told))
    again = read_any_report(tmp_path / "one")
    assert again == report
    stranger = read_any_report(tmp_path / "two")
    assert stranger.curve().accuracies == report.curve().accuracies
    assert report.area == pytest.approx(report.curve().area(*report.budget_range))
    first, second = compare([report, stranger], ["one", "two"])
    assert first.stages[0].psnr == second.stages[0].psnr == report.values[0]
    assert spread_of([report, again]).stages[-1].psnr.mean == pytest.approx(report.values[-1])
    axes = curve_figure([report]).axes[0]
    assert axes.get_ylabel() == "PSNR (dB)"
    assert axes.lines[0].get_ydata() == pytest.approx(report.curve().accuracies)
    assert (
        run(["compare", str(tmp_path / "one"), str(tmp_path / "two"), "--out", str(tmp_path / "c.svg")]) == 0
    )
    assert f"{report.values[0]:.2f} dB" in capsys.readouterr().out


def test_what_only_labels_of_images_have_is_refused_in_words(bundle: an.Bundle) -> None:
    with pytest.raises(ValueError, match="the task of this net is restoration, and its outputs are too many"):
        an.collect_outputs(bundle, SPLITS)
    with pytest.raises(ValueError, match="an answer names classes, and this net is one for restoration"):
        bundle.predict(np.zeros((16, 24, 3), np.uint8))
    labels = an.evaluate(bundle, SPLITS)
    with pytest.raises(ValueError, match="PSNR and no error"):
        curve_figure([labels], options=an.evaluation.PlotOptions(value="error"))


def test_a_task_that_is_not_registered_is_told_with_the_cure(
    bundle: an.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(an.tasks.known._TASKS, "restoration")
    with pytest.raises(DataError, match=r"no task is named 'restoration' here .*register_task"):
        an.evaluate(bundle, SPLITS)
    with pytest.raises(ValueError, match="named 'segmentation' already"):
        register_task("segmentation", Restoration)
