"""A static net beside an anytime net: the cheapest stage that is as good, and ratios where both are known."""

from dataclasses import replace
from typing import Any

import pytest

from anytimenet.core.scores import ScoreSpec
from anytimenet.evaluation import Report, beside_static
from anytimenet.evaluation.reports.stages import StageReport

PSNR = ScoreSpec("psnr", "PSNR", "dB")


def report(
    *stages: tuple[int, float, float | None], latency_from: str | None = "here", **more: Any
) -> Report:
    """(multiply-adds, score, milliseconds) of each stage."""
    told = [
        StageReport(k, macs, macs, 1, {"psnr": score}, latency_median_ms=ms)
        for k, (macs, score, ms) in enumerate(stages, 1)
    ]
    values: dict[str, Any] = {"task": "denoising", "data": "photos", "split": "test", "count": 9}
    return Report(
        **{**values, **more},
        stages=tuple(told),
        budget_range=(1, 99),
        specs=(PSNR,),
        latency_from=latency_from,
    )


ANYTIME = report((10, 20.0, 1.0), (20, 30.0, 3.0), (40, 31.0, 5.0))


def test_the_cheapest_stage_that_is_as_good_is_compared() -> None:
    found = beside_static(ANYTIME, report((25, 29.0, 2.0)), "resnet")
    assert (found.label, found.value, found.macs, found.latency_median_ms) == ("resnet", 29.0, 25, 2.0)
    assert (found.stage, found.stage_value) == (2, 30.0)
    assert (found.macs_ratio, found.latency_ratio, found.same_data) == (0.8, 1.5, True)
    assert found.to_dict()["macs_ratio"] == 0.8


def test_where_no_stage_is_as_good_the_best_is_told() -> None:
    found = beside_static(ANYTIME, report((25, 40.0, 2.0)))
    assert (found.stage, found.stage_value, found.macs_ratio, found.latency_ratio) == (None, 31.0, None, None)


def test_of_several_stages_the_last_one_counts() -> None:
    found = beside_static(ANYTIME, report((5, 50.0, 1.0), (80, 20.0, 2.0)))
    assert (found.value, found.macs, found.stage) == (20.0, 80, 1)


@pytest.mark.parametrize("where", ["elsewhere", None])
def test_milliseconds_of_another_machine_or_backend_are_not_compared(where: str | None) -> None:
    static = report((25, 29.0, 2.0), latency_from=where)
    assert beside_static(ANYTIME, static).latency_ratio is None
    assert beside_static(replace(ANYTIME, latency_from=None), static).latency_median_ms is None


def test_other_data_is_told_and_another_score_refused() -> None:
    assert not beside_static(ANYTIME, report((25, 29.0, 2.0), data="paintings")).same_data
    other = Report(
        "denoising",
        "photos",
        "test",
        9,
        (StageReport(1, 1, 1, 1, {"mse": 1.0}),),
        (1, 9),
        specs=(ScoreSpec("mse", "MSE", "1"),),
    )
    with pytest.raises(ValueError, match="scored by MSE and this net by PSNR"):
        beside_static(ANYTIME, other)
