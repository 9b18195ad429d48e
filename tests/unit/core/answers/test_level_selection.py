"""The level of each stage: the rule by hand, what is stored of it, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from anytimenet.core.answers.level_selection import LevelSelection, select_levels

RISING = [[0.2, 0.4, 0.8], [0.5, 0.7, 0.9], [0.7, 0.8, 0.95]]


@pytest.mark.parametrize(
    ("target", "tolerance", "levels", "missed"),
    [
        (None, 0.0, (3, 2, 1), ()),  # 0.7, what the whole net reaches on fine labels
        (None, 0.2, (3, 1, 1), ()),
        (None, 0.9, (1, 1, 1), ()),  # no target below 0
        (0.4, 0.0, (2, 1, 1), ()),
        (0.8, 0.0, (3, 3, 2), ()),
        (0.9, 0.0, (3, 3, 3), (1,)),
        (1.0, 0.0, (3, 3, 3), (1, 2, 3)),
        (0.0, 0.0, (1, 1, 1), ()),
    ],
)
def test_each_stage_takes_the_finest_level_that_reaches_the_target(target, tolerance, levels, missed):
    found = select_levels(RISING, target, tolerance=tolerance)
    assert found.levels == levels
    assert found.missed == missed
    assert found.target_accuracy == pytest.approx(max(0, 0.7 - tolerance) if target is None else target)
    assert found.target_from == ("full_net" if target is None else "given")
    assert found.val_accuracies == tuple(row[level - 1] for row, level in zip(RISING, levels, strict=True))


def test_a_later_stage_never_answers_more_coarsely():
    """Stage 1 would do with fine labels, but stage 2 needs the coarser ones."""
    assert select_levels([[0.6, 0.7], [0.5, 0.7]], 0.6).levels == (2, 2)
    # Its own coarser level does not reach the target: the next one does.
    assert select_levels([[0.6, 0.5, 0.7], [0.5, 0.7, 0.8]], 0.6).levels == (3, 2)


def test_a_target_is_not_missed_by_the_rounding_of_floats():
    """0.8 - 0.1 is a little more than 0.7."""
    found = select_levels([[0.5, 0.7], [0.7, 0.9], [0.8, 0.9]], tolerance=0.1)
    assert found.levels == (2, 1, 1)
    assert found.missed == ()
    assert LevelSelection((1,), (0.7,), 0.7 + 1e-6).missed == (1,)  # one image of a million does count


def test_the_fallback_is_the_coarsest_level_or_the_most_accurate():
    rows = [[0.3, 0.5, 0.4], [0.6, 0.5, 0.5]]
    assert select_levels(rows, 0.9).levels == (3, 3)
    assert select_levels(rows, 0.9, fallback="best").levels == (2, 1)
    assert select_levels([[0.5, 0.5]], 0.9, fallback="best").levels == (1,)  # of equals the finer


def test_a_selection_survives_json_and_keeps_the_stages_that_are_kept():
    found = select_levels(RISING)
    assert LevelSelection.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    kept = found.keep([1, 3])
    assert kept == LevelSelection((3, 1), (0.8, 0.7), 0.7, "full_net")


@pytest.mark.parametrize(
    ("rows", "options", "why"),
    [
        ([], {}, "one row of accuracies a stage"),
        ([[]], {}, "one row of accuracies a stage"),
        ([[0.5, 0.6], [0.5]], {}, "one entry a level in each"),
        ([[55.0]], {}, "accuracies must be a fraction from 0 to 1, not 55"),
        ([[float("nan")]], {}, "accuracies must be a fraction"),
        ([[0.5]], {"target_accuracy": 47.5}, "target_accuracy must be a fraction"),
        ([[0.5]], {"target_accuracy": 0.4, "tolerance": 0.1}, "leave it out beside target_accuracy"),
        ([[0.5]], {"tolerance": -0.1}, "tolerance must be a fraction"),
        ([[0.5]], {"fallback": "finest"}, "fallback 'finest' does not exist"),
    ],
)
def test_what_cannot_be_selected_from_is_refused(rows, options, why):
    with pytest.raises(ValueError, match=why):
        select_levels(rows, **options)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (((), (), 0.5), "levels must hold a level from 1 on"),
        (((0,), (0.5,), 0.5), "levels must be at least 1"),
        (((1.0,), (0.5,), 0.5), "levels must be a whole number"),
        (((1, 2), (0.5, 0.5), 0.5), "rise: a later stage must not"),
        (((2, 1), (0.5,), 0.5), "2 levels and 1 accuracies"),
        (((1,), (1.5,), 0.5), "val_accuracies must be a fraction"),
        (((1,), (0.5,), None), "target_accuracy must be a fraction"),
        (((1,), (0.5,), 0.5, "guess"), "target_from 'guess' does not exist: known are: full_net, given"),
    ],
)
def test_a_selection_that_makes_no_sense_is_refused(values, why):
    with pytest.raises((TypeError, ValueError), match=why):
        LevelSelection(*values)


def test_selecting_levels_needs_no_torch():
    code = "import sys, anytimenet.core.answers.level_selection; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
