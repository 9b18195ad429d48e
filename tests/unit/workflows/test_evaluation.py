"""`Evaluation`: whatever is asked of a bundle on some data, its net runs once over each split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import anytimenet as an
from anytimenet.data import DataSplits
from anytimenet.training import Batches, collect_logits
from anytimenet.workflows import Evaluation, Reading

CONFIG = an.TrainConfig(epochs=1, device="cpu")
SHAPE = {str(digit): "round" if digit in (0, 3, 6, 8, 9) else "straight" for digit in range(10)}


@pytest.fixture(scope="module")
def data() -> DataSplits:
    return an.load_data("digits", an.DataOptions(taxonomy=SHAPE, limit=200))


@pytest.fixture(scope="module")
def bundle(data: DataSplits) -> an.Bundle:
    net = an.create_net("isresnext_tiny", num_classes=data.num_classes, in_channels=1)
    return an.fit(net, data, config=CONFIG)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many batches each pass of the net read."""
    seen: list[int] = []

    def counted(net: an.AnytimeNet, batches: Batches) -> Any:
        seen.append(len(batches))
        return collect_logits(net, batches)

    monkeypatch.setattr("anytimenet.workflows.evaluation.collect_logits", counted)
    return seen


def test_report_budgets_and_levels_take_one_pass_a_split_and_are_those_of_the_functions(
    bundle: an.Bundle, data: DataSplits, passes: list[int]
) -> None:
    evaluation = Evaluation(Reading(bundle, data))
    selection = evaluation.select_levels(target_accuracy=0.5)
    found = (
        evaluation.report(per_class=True, ensemble="mean"),
        evaluation.budgeted(ps=(0.5, 1.0)),
        evaluation.levels(selection),
    )
    assert evaluation.outputs().split == "test"
    assert len(passes) == 2  # test and val
    assert found == (
        an.evaluate(bundle, data, per_class=True, ensemble="mean"),
        an.evaluate_budgeted(bundle, data, ps=(0.5, 1.0)),
        an.evaluate_levels(bundle, data, target_accuracy=0.5),
    )


def test_levels_that_no_accuracy_is_stored_for_share_the_pass_over_the_validation_images(
    bundle: an.Bundle, data: DataSplits, passes: list[int]
) -> None:
    stages = tuple(replace(record, coarser_val_accuracies=()) for record in bundle.manifest.stages)
    unknowing = an.Bundle(bundle.net, replace(bundle.manifest, stages=stages))
    evaluation = Evaluation(Reading(unknowing, data))
    evaluation.budgeted()
    evaluation.select_levels()
    assert len(passes) == 2


def test_what_cannot_be_read_is_refused_before_the_net_runs(
    bundle: an.Bundle, data: DataSplits, passes: list[int]
) -> None:
    with pytest.raises(TypeError, match="skip_bad must be True or False"):
        Reading(bundle, data, skip_bad="no")  # type: ignore[arg-type]
    evaluation = Evaluation(Reading(bundle, data))
    with pytest.raises(ValueError, match="evaluate them on another split"):
        evaluation.budgeted("val")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="split 'tset' does not exist"):
        evaluation.report("tset")  # type: ignore[arg-type]
    assert passes == []
