"""Which way of leaving a batch is the cheapest follows from the cost table."""

import numpy as np
import pytest
from tests.unit.runtime.fakes.toy import toy_images, toy_model

from anytimenet.core.errors import CostTableError
from anytimenet.core.manifest.cost_table import CostTable, Latency
from anytimenet.core.manifest.machine import machine_stamp
from anytimenet.runtime.batches.costs import LeavingCosts
from anytimenet.runtime.batches.leaving import LeavingRun
from anytimenet.runtime.policies.policy import NOTHING

STEPS = ((0, 1), (1, 2), (2, 3), (3, 4))
MIB = 2**20


def table_of(fixed_ms, row_ms, state_mib=(0.0, 0.0, 0.0, 0.0)):
    """Every step takes `fixed_ms` and `row_ms` more for each row."""
    entries = {
        (a, b, n): Latency(*[fixed_ms + row_ms * n] * 3, repeats=9) for a, b in STEPS for n in (1, 2, 4, 8)
    }
    sizes = tuple(int(mib * MIB) for mib in state_mib)
    return CostTable("cpu", machine_stamp(), "float32", 1, (1, 4, 4), entries, state_bytes=sizes)


def test_expected_costs_in_closed_form():
    costs = LeavingCosts(table_of(2, 1, (1.0, 1.0, 1.0, 0.0)), STEPS, copy_ms_per_mib=0.5)
    expected = costs.expected_ms((0.5, 0, 0.25, 0.25), 8)
    assert expected["results"] == 4 * 10
    # 8, 4, 4 and 2 rows; those that are there after the first and the third step are copied once.
    assert expected["compact"] == (10 + 6 + 6 + 4) + 0.5 * (4 + 2)
    # As many full batches as there are rows for; the same rows are copied four times.
    assert expected["regroup"] == 10 * (1 + 0.5 + 0.5 + 0.25) + 4 * 0.5 * (4 + 2)


@pytest.mark.parametrize(
    ("fixed_ms", "row_ms", "state_mib", "shares", "cheapest"),
    [
        (0, 1, 0.0, (0, 0, 0, 1.0), "results"),  # nobody leaves early: all cost the same
        (0, 1, 0.0, (0.5, 0, 0, 0.5), "compact"),  # cost is of rows alone
        (50, 0.01, 0.0, (0.5, 0, 0, 0.5), "regroup"),  # cost is of batches
        (0.1, 0.01, 50.0, (0.25, 0, 0, 0.75), "results"),  # a state that is too large to move
    ],
)
def test_the_cheapest_mode(fixed_ms, row_ms, state_mib, shares, cheapest):
    costs = LeavingCosts(table_of(fixed_ms, row_ms, (state_mib,) * 4), STEPS)
    assert costs.cheapest(shares, 8) == cheapest


def test_a_run_whose_examples_have_all_left_costs_nothing_more():
    costs = LeavingCosts(table_of(2, 1), STEPS)
    expected = costs.expected_ms((1.0, 0, 0, 0), 8)
    assert expected == {"results": 10, "compact": 10, "regroup": 10}


def test_dropping_pays_from_where_what_is_saved_is_more_than_the_copy():
    # Three steps are to come, each 1 ms cheaper for a row; to move one that stays takes 0.5 ms.
    costs = LeavingCosts(table_of(2, 1, (1.0,) * 4), STEPS, copy_ms_per_mib=0.5)
    for stay in range(1, 8):
        assert costs.worth_dropping(0, 8, stay) == (3 * (8 - stay) > 0.5 * stay)
    assert not costs.worth_dropping(3, 8, 1)  # nothing is to come


def test_a_new_start_from_the_input_moves_no_state():
    table = table_of(2, 1, (1.0,) * 4)
    again = LeavingCosts(table, ((0, 1), (0, 1)))
    assert again.move_ms(0, 8) == 0


class HalfLeave:
    num_stages = None

    def begin(self, batch):
        return NOTHING

    def leaves(self, stage, output, memory):
        return np.arange(len(output[0])) < (len(output[0]) // 2 if stage == 1 else 0), memory


@pytest.mark.parametrize(("state_mib", "later_rows"), [(1.0, 4), (50.0, 8)])
def test_a_run_drops_rows_only_where_it_pays(state_mib, later_rows):
    ran = []
    model = toy_model(work=lambda start, stop, rows: ran.append(rows))
    costs = LeavingCosts(table_of(2, 1, (state_mib,) * 4), STEPS)
    found = list(LeavingRun(model, HalfLeave(), batch=8, costs=costs).answers(toy_images(8)))
    assert len(found) == 8
    assert ran == [8, later_rows, later_rows, later_rows]


def test_a_table_that_knows_the_batch_says_whether_it_pays_and_another_says_nothing():
    ran = []
    model = toy_model(work=lambda start, stop, rows: ran.append(rows))
    table = table_of(2, 1, (50.0,) * 4)  # a state that is too large to move
    list(LeavingRun(model, HalfLeave(), batch=8, costs=table).answers(toy_images(8)))
    assert ran == [8] * 4
    ran.clear()
    list(LeavingRun(model, HalfLeave(), batch=10, costs=table).answers(toy_images(10)))
    assert ran == [10, 5, 5, 5]
    assert LeavingCosts.if_known(table, ((0, 4),), 8) is None


def test_a_run_takes_the_cheapest_mode_where_it_can_tell():
    by_batches = LeavingCosts(table_of(50, 0.01), STEPS)
    run = LeavingRun(toy_model(), HalfLeave(), batch=8, costs=by_batches, shares=(0.5, 0, 0, 0.5))
    assert run.mode == "regroup"
    assert LeavingRun(toy_model(), HalfLeave(), batch=8, costs=by_batches).mode == "compact"
    with pytest.raises(ValueError, match=r"costs are of path .*and this run's is \[\(0, 4\)\]"):
        LeavingRun(toy_model(), HalfLeave(), path=[(0, 4)], costs=by_batches)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.5, 0.5, 0.5, 0.5), (1.5, -0.5, 0, 0)])
def test_shares_that_are_none_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        LeavingCosts(table_of(2, 1), STEPS).expected_ms(shares, 8)


def test_a_batch_that_the_table_does_not_know_is_refused():
    with pytest.raises(CostTableError, match="batches of 1 to 8, not 16"):
        LeavingCosts(table_of(2, 1), STEPS).expected_ms((0.5, 0, 0, 0.5), 16)
