"""The optimality gap: joint minus alone, run by run."""

import json
from dataclasses import replace

import pytest

from anytimenet.evaluation import (
    MeanSd,
    OptimalityGap,
    PlotOptions,
    Report,
    StageReport,
    plot_optimality_gap,
)
from anytimenet.evaluation.reports.sections import ClassificationSections


def stage(number, macs, top1):
    return StageReport(number, macs, 2 * macs, 7, {"top1": top1})


SECTIONS = ClassificationSections(num_classes=10, example_violations=0.1)


def joint(*top1):
    stages = tuple(stage(k, 100 * k, a) for k, a in enumerate(top1, start=1))
    return Report("classification", "made up", "test", 500, stages, (100.0, 300.0), SECTIONS)


def alone(number, top1):
    stages = (stage(1, 100 * number, top1),)
    return Report("classification", "made up", "test", 500, stages, (50.0, 150.0), SECTIONS)


JOINT = [joint(0.5, 0.7), joint(0.6, 0.8)]
ALONE = {1: [alone(1, 0.6), alone(1, 0.75)], 2: [alone(2, 0.75), alone(2, 0.75)]}


def test_errors_and_gaps_are_means_over_runs_and_the_sd_is_that_of_the_differences():
    gap = OptimalityGap.of(JOINT, ALONE)
    first, second = gap.stages
    assert (gap.runs, gap.count, first.stage, first.macs, first.full) == (2, 500, 1, 100, 200)
    assert first.joint_error.mean == pytest.approx(0.45)
    assert first.alone_error.mean == pytest.approx(0.325)
    assert first.gap.mean == pytest.approx((0.1 + 0.15) / 2)
    assert first.gap.sd == pytest.approx(0.05 / 2**0.5)
    assert second.gap.mean == pytest.approx(0.0)
    assert second.gap.sd == pytest.approx(0.1 / 2**0.5)
    assert second.alone_error.sd == 0.0


def test_json_names_every_number_and_one_run_has_no_sd():
    values = json.loads(json.dumps(OptimalityGap.of(JOINT[:1], {2: ALONE[2][:1]}).to_dict(), allow_nan=False))
    assert list(values) == ["data", "split", "count", "runs", "stages"]
    assert list(values["stages"][0]) == [
        "stage", "macs", "full", "params", "joint_error", "alone_error", "gap",
    ]  # fmt: skip
    assert values["stages"][0]["stage"] == 2
    assert values["stages"][0]["gap"] == {"mean": pytest.approx(0.05), "sd": None}


def test_the_table_is_in_percent_and_points():
    lines = OptimalityGap.of(JOINT, ALONE).table().splitlines()
    assert lines[0].split() == ["stage", "multiply-adds", "joint", "error", "%", "alone", "error", "%", "gap"]
    assert "45.0 +- 7.1" in lines[1]
    assert lines[1].endswith("+12.5 +- 3.5")


@pytest.mark.parametrize(
    ("reports", "others", "message"),
    [
        (JOINT, {1: ALONE[1][:1]}, "2 joint runs and 1 of stage 1"),
        (JOINT, {3: ALONE[1]}, "stage 3 is no stage"),
        (JOINT, {2: ALONE[1]}, "not stage 2 of the joint net: 1 stages, 100 multiply-adds instead of 200"),
        (JOINT, {1: JOINT}, "not stage 1 of the joint net: 2 stages"),
        (JOINT, {1: [replace(r, data="other") for r in ALONE[1]]}, "images of other do not compare"),
        (JOINT, {}, "needs reports"),
    ],
)
def test_what_does_not_compare_is_refused(reports, others, message):
    with pytest.raises(ValueError, match=message):
        OptimalityGap.of(reports, others)


def drawn(figure_path):
    """What an SVG shows, as text."""
    return figure_path.read_text(encoding="utf-8")


def test_the_figure_holds_a_curve_and_points_without_a_line(tmp_path):
    gap = OptimalityGap.of(JOINT, ALONE)
    text = drawn(plot_optimality_gap(gap, tmp_path / "gap.svg"))
    assert "trained together" in text
    assert "each trained alone" in text
    assert "error (%)" in text
    assert "band: ± 1 sd over seeds; bars: ± 1 sd over seeds" in text
    single = OptimalityGap.of(JOINT[:1], {1: ALONE[1][:1]})
    assert "± 1 sd" not in drawn(plot_optimality_gap(single, tmp_path / "one.svg"))


def test_separate_nets_are_drawn_without_a_line():
    from anytimenet.evaluation import curve_figure
    from anytimenet.evaluation.plots.optimality_gap import _series

    points = [(200, MeanSd(0.3, 0.01)), (100, MeanSd(0.4, 0.02))]
    series = [
        _series(points, PlotOptions(value="accuracy"), name, joined=name == "together")
        for name in ("together", "alone")
    ]
    lines = curve_figure(series, options=PlotOptions(value="accuracy")).axes[0].get_lines()
    assert [line.get_linestyle() for line in lines[:2]] == ["-", "None"]
    assert lines[1].get_ydata().tolist() == pytest.approx([60, 70])


def test_an_optimality_gap_is_drawn_over_multiply_adds_only(tmp_path):
    with pytest.raises(ValueError, match="not 'ms'"):
        plot_optimality_gap(
            OptimalityGap.of(JOINT, ALONE), tmp_path / "a.png", options=PlotOptions(cost="ms")
        )
