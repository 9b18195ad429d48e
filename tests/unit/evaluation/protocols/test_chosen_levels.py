"""What a selection of levels holds, counted by hand; the baseline against sums written out."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from anytimenet.core.answers.level_selection import LevelSelection, select_levels
from anytimenet.core.answers.probabilities import softmax
from anytimenet.core.errors import DataError
from anytimenet.core.labels.taxonomy import Taxonomy
from anytimenet.evaluation import ChosenLevels, evaluate_selection, level_accuracies
from anytimenet.evaluation.protocols.outputs import OutputCost, Outputs

TAXONOMY = Taxonomy.from_mapping("abcd", {"a": "x", "b": "x", "c": "y", "d": "z"})
COSTS = tuple(OutputCost(k, 10 * k, 12 * k, 3, 10 * k, 12 * k) for k in (1, 2, 3))


@pytest.fixture
def outputs() -> Outputs:
    """Random answers that get better from stage to stage and are better on the coarser level."""
    rng = np.random.default_rng(5)
    labels = TAXONOMY.lift(rng.integers(0, 4, 200))
    logits = [
        tuple(
            rng.normal(size=(200, classes)) + (k + level) * np.eye(classes)[labels[:, level]]
            for level, classes in enumerate((4, 3))
        )
        for k in (0.2, 0.8, 1.4)
    ]
    return Outputs(tuple(logits), labels, COSTS, data="letters", split="test")


def test_every_number_is_what_counting_gives(outputs):
    found = evaluate_selection(outputs, LevelSelection((2, 2, 1), (0.7, 0.8, 0.7), 0.65), TAXONOMY)
    for stage, logits in zip(found.stages, outputs.logits, strict=True):
        level = (2, 2, 1)[stage.stage - 1]
        right = [
            int(np.argmax(z) == label)
            for z, label in zip(logits[level - 1], outputs.labels[:, level - 1], strict=True)
        ]
        assert stage.accuracy == sum(right) / 200
        assert stage.accuracy_low < stage.accuracy < stage.accuracy_high
        assert (stage.level, stage.num_classes, stage.macs) == (level, (4, 3)[level - 1], 10 * stage.stage)
        assert stage.information == math.log2(stage.num_classes)
    rows = level_accuracies(outputs.logits, outputs.labels)
    assert [stage.fine_accuracy for stage in found.stages] == [row[0] for row in rows]
    assert found.worst_fine_accuracy == min(row[0] for row in rows)
    assert found.worst_accuracy == min(rows[0][1], rows[1][1], rows[2][0])
    assert found.mean_information == pytest.approx((2 * math.log2(3) + 2) / 3)


def test_the_baseline_sums_the_fine_probabilities_of_each_coarser_class(outputs):
    found = evaluate_selection(outputs, LevelSelection((2, 2, 1), (0.7, 0.8, 0.7), 0.65), TAXONOMY)
    for stage, logits in zip(found.stages[:2], outputs.logits, strict=False):
        p = softmax(logits[0])
        answers = np.stack([p[:, 0] + p[:, 1], p[:, 2], p[:, 3]], axis=1).argmax(1)
        assert stage.summed_accuracy == (answers == outputs.labels[:, 1]).mean()
    assert found.stages[2].summed_accuracy == found.stages[2].fine_accuracy
    assert found.worst_summed_accuracy == min(stage.summed_accuracy for stage in found.stages)


def test_levels_chosen_on_the_same_images_hold_their_target_there(outputs):
    selection = select_levels(level_accuracies(outputs.logits, outputs.labels))
    found = evaluate_selection(outputs, selection)
    assert selection.levels == (2, 2, 1)
    assert [stage.accuracy for stage in found.stages] == list(selection.val_accuracies)
    assert found.worst_accuracy >= selection.target_accuracy > found.worst_fine_accuracy
    assert found.worst_summed_accuracy is None


def test_json_and_table(outputs):
    found = evaluate_selection(
        outputs, LevelSelection((2, 1, 1), (0.7, 0.6, 0.6), 0.65, "full_net"), TAXONOMY
    )
    values = json.loads(json.dumps(found.to_dict()))
    assert ChosenLevels.from_dict(values) == found
    assert values["missed"] == [2, 3]
    assert values["worst_accuracy"] == found.worst_accuracy
    lines = found.table().splitlines()
    assert len(lines) == 4
    assert lines[1].split()[2:5] == ["2", "3", "1.58"]
    bare = evaluate_selection(outputs, found.selection)
    assert bare.table().splitlines()[1].split()[-1] == "-"
    assert ChosenLevels.from_dict(bare.to_dict()) == bare


def test_what_does_not_belong_together_is_refused(outputs):
    with pytest.raises(DataError, match="outputs of 3 stages on 2 levels: select them for this net"):
        evaluate_selection(outputs, LevelSelection((1, 1), (0.5, 0.5), 0.5))
    with pytest.raises(DataError, match="select them for this net"):
        evaluate_selection(outputs, LevelSelection((3, 1, 1), (0.5,) * 3, 0.5))
    other = Taxonomy.from_mapping("abc", {"a": "x", "b": "x", "c": "y"})
    selection = LevelSelection((1, 1, 1), (0.5,) * 3, 0.5)
    with pytest.raises(DataError, match=r"\[3, 2\] classes and the net predicts \[4, 3\]"):
        evaluate_selection(outputs, selection, other)
    none = replace(
        outputs,
        logits=tuple(tuple(z[:0] for z in stage) for stage in outputs.logits),
        labels=outputs.labels[:0],
    )
    with pytest.raises(DataError, match="there are none"):
        evaluate_selection(none, selection)
