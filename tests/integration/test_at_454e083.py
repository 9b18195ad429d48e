"""What was written at commit 454e083 keeps loading: bundles, reports, spreads and a run that was stopped."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import ModuleType

import pytest
import torch

import anytimenet as an
from anytimenet.cli.compare import read_run
from anytimenet.core.errors import BundleError, TrainingError
from anytimenet.evaluation import ChosenLevels, Spread, read_any_report

DATA = Path(__file__).parents[1] / "data"
OLD = DATA / "at_454e083"


def _maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_at_454e083", DATA / "make_at_454e083.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("name", "side"), [("bundle-segmentation", 16), ("bundle-recalibrated", 8), ("bundle-eann", 8)]
)
def test_bundles_give_the_logits_that_they_gave(name: str, side: int) -> None:
    bundle = an.load(OLD / name)
    told = json.loads((OLD / f"{name}.json").read_text())["logits"]
    with torch.no_grad():
        outputs = bundle.net(_maker().example_image(1, side))
    assert len(outputs) == len(told)
    for output, wanted in zip(outputs, told, strict=True):
        for level, values in zip(output, wanted, strict=True):
            torch.testing.assert_close(level[0], torch.tensor(values), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["report.json", "report-levels.json", "report-segmentation.json"])
def test_reports_are_read(name: str) -> None:
    report = read_any_report(OLD / name)
    told = json.loads((OLD / name).read_text())
    later: dict[str, object] = {"device": None, "macs_complete": True, "uncounted_operators": []}
    later["latency_from"] = None
    written = json.loads(json.dumps(report.to_dict()))
    assert type(report).from_dict(written) == report
    assert list(written) == [*told, *later]
    # Computed anew from the curve, with logarithms whose last bit depends on the machine.
    assert written.pop("area_log") == pytest.approx(told.pop("area_log"), rel=1e-12)
    assert written == {**told, **later}
    assert report.table()


def test_chosen_levels_are_read() -> None:
    told = json.loads((OLD / "chosen-levels.json").read_text())
    assert ChosenLevels.from_dict(told).to_dict() == told


def test_a_folder_of_seeds_is_compared(tmp_path: Path) -> None:
    (tmp_path / "seed-0").mkdir()
    shutil.copy(OLD / "spread.json", tmp_path)
    shutil.copy(OLD / "report.json", tmp_path / "seed-0")
    spread = read_run(tmp_path, "macs")
    assert isinstance(spread, Spread)
    told = json.loads((OLD / "spread.json").read_text())
    assert spread.to_dict().keys() >= told.keys()
    assert spread.to_dict()["stages"][0].keys() >= told["stages"][0].keys()


def test_a_stopped_run_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "isresnext_tiny"
    shutil.copytree(OLD / "run-isresnext_tiny", folder)
    told = json.loads((OLD / "run-isresnext_tiny.json").read_text())
    bundle = _maker().train_run(folder, "isresnext_tiny", stop=False)
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == [row["epoch"] for row in told["log"]] == [1, 2, 3]
    assert log[-1]["losses"] == pytest.approx(told["log"][-1]["losses"], rel=1e-3)
    assert bundle.manifest.provenance["best_epoch"] == told["best_epoch"]


@pytest.mark.parametrize("name", ["bundle-ranet", "bundle-eann-ranet"])
def test_bundles_of_the_first_ranet_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(BundleError, match=_REFUSED):
        an.load(OLD / name)


def test_a_stopped_run_of_the_first_ranet_is_refused_with_the_reason(tmp_path: Path) -> None:
    folder = tmp_path / "ranet_tiny"
    shutil.copytree(OLD / "run-ranet_tiny", folder)
    with pytest.raises(TrainingError, match=_REFUSED):
        _maker().train_run(folder, "ranet_tiny", stop=False)


_REFUSED = r"ranet_tiny was saved in form 1 .* builds form 2 \(the flows have the authors' layers now"
