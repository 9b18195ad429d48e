"""The selected levels against every choice there is."""

from __future__ import annotations

from itertools import pairwise, product

from hypothesis import given
from hypothesis import strategies as st

from anytimenet.core.answers.level_selection import select_levels

FRACTIONS = st.integers(0, 6).map(lambda n: n / 6)


@st.composite
def accuracies(draw: st.DrawFn) -> list[list[float]]:
    stages, levels = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return [[draw(FRACTIONS) for _ in range(levels)] for _ in range(stages)]


def choices(rows: list[list[float]], target: float) -> list[tuple[int, ...]]:
    """Every choice that never rises and reaches the target, or is the coarsest, at every stage."""
    coarsest = len(rows[0])
    return [
        levels
        for levels in product(range(1, coarsest + 1), repeat=len(rows))
        if all(a >= b for a, b in pairwise(levels))
        and all(
            level == coarsest or row[level - 1] >= target for row, level in zip(rows, levels, strict=True)
        )
    ]


@given(accuracies(), FRACTIONS)
def test_no_other_choice_is_finer_at_any_stage(rows, target):
    found = select_levels(rows, target).levels
    all_choices = choices(rows, target)
    assert found in all_choices
    assert all(a <= b for other in all_choices for a, b in zip(found, other, strict=True))


@given(accuracies())
def test_the_last_stage_answers_with_fine_labels_by_default(rows):
    found = select_levels(rows)
    assert found.levels[-1] == 1
    assert len(rows) not in found.missed


@given(accuracies(), FRACTIONS, FRACTIONS)
def test_a_lower_target_never_makes_an_answer_coarser(rows, one, other):
    low, high = sorted((one, other))
    pairs = zip(select_levels(rows, low).levels, select_levels(rows, high).levels, strict=True)
    assert all(a <= b for a, b in pairs)


@given(accuracies(), FRACTIONS)
def test_the_fallbacks_differ_only_where_the_target_is_missed(rows, target):
    coarsest, best = (select_levels(rows, target, fallback=kind) for kind in ("coarsest", "best"))
    if not coarsest.missed:
        assert best == coarsest
    else:
        last = max(coarsest.missed)
        assert best.levels[last:] == coarsest.levels[last:]
        assert best.val_accuracies[last - 1] >= coarsest.val_accuracies[last - 1]
