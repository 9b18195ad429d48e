"""Promises of the spread over seeds."""

import json
from dataclasses import replace
from statistics import mean, stdev

import pytest

from anytimenet.core.scores import CLASSIFICATION, ScoreSpec
from anytimenet.evaluation import MeanSd, Report, Spread, StageReport
from anytimenet.evaluation.reports.sections import ClassificationSections


def report_of(*top1, **changes):
    stages = tuple(
        StageReport(k, 100 * k, 110 * k, 7 * k, {"top1": a, "top5": 0.95, "ece": a / 10, "nll": 1 - a})
        for k, a in enumerate(top1, start=1)
    )
    sections = ClassificationSections(num_classes=10, example_violations=top1[0] / 4)
    report = Report("classification", "made up", "test", 500, stages, (100.0, 300.0), sections)
    return replace(report, **changes)


RUNS = [report_of(0.5, 0.7), report_of(0.6, 0.75), report_of(0.4, 0.8)]


def test_mean_and_sample_standard_deviation_of_every_stage():
    spread = Spread.of(RUNS)
    assert spread.runs == 3
    assert [(s.stage, s.macs, s.full, s.params) for s in spread.stages] == [
        (1, 100, 110, 7),
        (2, 200, 220, 14),
    ]
    assert spread.stages[0].top1.mean == pytest.approx(0.5)
    assert spread.stages[0].top1.sd == pytest.approx(0.1)  # n - 1: sqrt((0 + .01 + .01) / 2)
    for k, stage in enumerate(spread.stages):
        for name in ("top1", "top5", "ece", "nll"):
            values = [getattr(run.stages[k], name) for run in RUNS]
            assert getattr(stage, name) == MeanSd(pytest.approx(mean(values)), pytest.approx(stdev(values)))
    for name in ("area", "area_log", "expected_accuracy", "example_violations"):
        values = [getattr(run, name) for run in RUNS]
        assert getattr(spread, name) == MeanSd(pytest.approx(mean(values)), pytest.approx(stdev(values)))


def test_one_run_has_no_standard_deviation():
    spread = Spread.of(RUNS[:1])
    assert spread.stages[0].top1 == MeanSd(0.5, None)
    assert json.loads(json.dumps(spread.to_dict(), allow_nan=False))["area"]["sd"] is None
    assert spread.table().splitlines()[1].endswith(" -")


def test_mean_curve():
    curve = Spread.of(RUNS).curve("full", "three runs")
    assert (curve.costs, curve.label, curve.unit) == ((110, 220), "three runs", "full")
    assert curve.accuracies == pytest.approx((0.5, 0.75))
    with pytest.raises(ValueError, match="no cost 'ms'"):
        Spread.of(RUNS).curve("ms")


def test_json_keys():
    values = json.loads(json.dumps(Spread.of(RUNS).to_dict()))
    assert list(values) == [
        "data", "split", "count", "num_classes", "runs", "stages", "budget_range", "area", "area_log",
        "expected_accuracy", "example_violations", "uncounted_operators",
    ]  # fmt: skip
    assert list(values["stages"][0]) == [
        *("stage", "macs", "full", "params"),
        *(spec.key for spec in CLASSIFICATION),
    ]
    assert values["stages"][1]["top1"] == {"mean": pytest.approx(0.75), "sd": pytest.approx(0.05)}


def test_table_shows_mean_and_deviation():
    assert Spread.of(RUNS).table().splitlines()[2].split() == ["2", "200", "14", "75.0", "5.00"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (report_of(0.5, 0.7, 0.8), "other stages"),
        (report_of(0.5), "other stages"),
        (replace(RUNS[0], stages=(RUNS[0].stages[0], replace(RUNS[0].stages[1], macs=201))), "other stages"),
        (replace(RUNS[0], stages=(RUNS[0].stages[0], replace(RUNS[0].stages[1], params=1))), "parameters"),
        (report_of(0.5, 0.7, data="digits"), "with data 'made up' and 'digits'"),
        (report_of(0.5, 0.7, split="val"), "split"),
        (report_of(0.5, 0.7, count=499), "count 500 and 499"),
        (report_of(0.5, 0.7, budget_range=(100.0, 400.0)), "budget_range"),
    ],
)
def test_reports_of_another_experiment_are_refused(other, message):
    with pytest.raises(ValueError, match=message):
        Spread.of([RUNS[0], other])


def test_no_reports_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Spread.of([])


def test_a_score_that_some_run_lacks_is_joined_by_none_and_the_table_says_so():
    specs = (ScoreSpec("psnr", "PSNR", "dB"), ScoreSpec("ssim", "SSIM"))

    def restored(psnr, ssim):
        stage = StageReport(1, 100, 110, 7, {"psnr": psnr, "ssim": ssim})
        return Report("restoration", "photos", "test", 4, (stage,), (100.0, 200.0), specs=specs)

    spread = Spread.of([restored(30.0, 0.9), restored(32.0, None)])
    assert (spread.stages[0].psnr.mean, spread.stages[0].ssim) == (31.0, None)
    assert spread.table().splitlines()[1].split() == ["1", "100", "7", "31.0", "1.41", "-", "-"]
    assert spread.to_dict()["scores"][1]["key"] == "ssim"
    with pytest.raises(ValueError, match="task 'restoration' and 'classification'"):
        Spread.of([restored(30.0, 0.9), RUNS[0]])
