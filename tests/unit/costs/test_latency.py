"""The profiler on a clock of its own: order, quantiles, the time limit, and estimates that say so."""

import importlib.metadata
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.core.manifest.cost_table import CostTable
from anytimenet.costs import profile_segments, torch_segments
from anytimenet.nets import create_net
from anytimenet.runtime.profiling.text import table_text

Key = tuple[int, int, int]


class FakeMachine:
    """Segments that take exactly as long as they are told to, on a clock that only they move."""

    def __init__(self, seconds: Callable[[int, int, int], float]) -> None:
        self.now = 100.0
        self.seconds = seconds
        self.prepared: list[Key] = []
        self.runs: dict[Key, int] = {}

    def clock(self) -> float:
        return self.now

    def prepare(self, start: int, stop: int, batch: int) -> Callable[[], object]:
        key = (start, stop, batch)
        self.prepared.append(key)
        self.runs[key] = 0

        def run() -> None:
            self.runs[key] += 1
            self.now += self.seconds(start, stop, batch)

        return run

    def profile(self, num_stages: int, **options: object) -> CostTable:
        return profile_segments(
            self.prepare,
            num_stages,
            input_shape=(3, 8, 8),
            clock=self.clock,
            **options,  # type: ignore[arg-type]
        )


def _linear(start: int, stop: int, batch: int) -> float:
    return batch * (stop - start) / 1000


def _keys(num_stages: int, batches: tuple[int, ...] = (1,)) -> set[Key]:
    return {(a, b, n) for a, b in combinations(range(num_stages + 1), 2) for n in batches}


def test_with_time_enough_everything_is_measured_exactly() -> None:
    table = FakeMachine(_linear).profile(4, batch_sizes=(4, 1), minutes=60)
    assert set(table.entries) == _keys(4, (1, 4))
    for (start, stop, batch), latency in table.entries.items():
        assert latency.median_ms == pytest.approx(batch * (stop - start))
        assert latency.p95_ms == pytest.approx(latency.median_ms)
        assert latency.p99_ms == pytest.approx(latency.median_ms)
        assert (latency.repeats, latency.estimated) == (50, False)


def test_order() -> None:
    """(0, K), then the other (0, k) and the steps, then (k, K), then the rest; all batches of each."""
    machine = FakeMachine(_linear)
    machine.profile(4, minutes=60)
    assert machine.prepared == [
        (0, 4, 1),
        *[(0, 1, 1), (0, 2, 1), (0, 3, 1)],
        *[(1, 2, 1), (2, 3, 1), (3, 4, 1)],
        *[(1, 4, 1), (2, 4, 1)],
        (1, 3, 1),
    ]
    two = FakeMachine(_linear)
    two.profile(3, batch_sizes=(8, 1, 1), minutes=60)
    assert [batch for _, _, batch in two.prepared] == [1] * 5 + [8] * 5 + [1, 8]


def test_warm_up_does_not_count_and_quantiles_are_times_that_were_seen() -> None:
    times = iter([9.0, 9.0] + [i / 1000 for i in range(1, 101)])
    machine = FakeMachine(lambda *key: next(times))
    (latency,) = machine.profile(1, warmup=2, repeats=100, minutes=60).entries.values()
    assert machine.runs == {(0, 1, 1): 102}
    assert latency.median_ms == pytest.approx(50.5)
    assert latency.p95_ms == pytest.approx(96)
    assert latency.p99_ms == pytest.approx(100)


def test_the_time_limit_holds_and_the_rest_is_marked_estimated() -> None:
    """Ten segments of at most 4 s a run, 1 + 5 runs each: 24 s for (0, 4), then what fits in 60 s."""
    machine = FakeMachine(lambda a, b, n: float(b - a))
    table = machine.profile(4, minutes=1, warmup=1, repeats=5)
    assert machine.now <= 160
    measured = {key for key, latency in table.entries.items() if not latency.estimated}
    assert measured == set(machine.prepared)
    # After 24 s (0, 1) is expected to take as long as (0, 4) at most: 24 s fit. Then nothing is sure to.
    assert (0, 4, 1) in measured
    assert len(measured) < len(_keys(4)) == len(table.entries)
    for key in set(table.entries) - measured:
        assert table.entries[key].repeats == 0


def test_the_full_jump_is_measured_even_when_it_takes_too_long() -> None:
    machine = FakeMachine(lambda *key: 1000.0)
    table = machine.profile(3, minutes=0.01)
    assert machine.prepared == [(0, 3, 1)]
    assert machine.runs == {(0, 3, 1): 1 + 5}  # the warm-up ends with the time, the runs after five
    assert {latency.median_ms for latency in table.entries.values()} == {1_000_000}
    assert [key for key, latency in table.entries.items() if not latency.estimated] == [(0, 3, 1)]


@pytest.mark.parametrize("minutes", [60, 0.05, 0.02, 0.001])
def test_estimates_are_enough(minutes: float) -> None:
    """Where segments keep the cost rules, an estimate is never below the truth."""

    def truth(start: int, stop: int, batch: int) -> float:
        # Concave in the length: a jump costs no more than its steps, and less than a longer one.
        number: float = batch * (stop - start) ** 0.5 / 1000
        return number

    table = FakeMachine(truth).profile(5, batch_sizes=(1, 2, 4), minutes=minutes)
    assert set(table.entries) == _keys(5, (1, 2, 4))
    for key, latency in table.entries.items():
        assert latency.median_ms >= 1000 * truth(*key) * (1 - 1e-9)
        if not latency.estimated:
            assert latency.median_ms == pytest.approx(1000 * truth(*key))


def test_an_estimate_is_the_cheaper_of_its_steps_and_the_jump_from_the_input() -> None:
    seconds = {(0, 1): 1, (0, 2): 3, (0, 3): 9, (0, 4): 10, (1, 2): 2, (2, 3): 5, (3, 4): 6}
    machine = FakeMachine(lambda a, b, n: float(seconds[a, b]))
    # Seven segments with 1 + 5 runs each take 216 s; the cheapest of the rest would take 42 s more.
    table = machine.profile(4, minutes=250 / 60, warmup=1, repeats=5)
    assert set(machine.prepared) == {(a, b, 1) for a, b in seconds}
    assert table.latency(1, 3).median_ms == 7000  # 2 + 5 < 9
    assert table.latency(2, 4).median_ms == 10_000  # (0, 4) < 5 + 6
    assert table.latency(1, 4).median_ms == 10_000  # (0, 4) < 2 + 5 + 6
    assert table.latency(1, 3).estimated


@examples(40)
@given(
    stages=st.integers(1, 5),
    batches=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    minutes=st.floats(0.001, 0.2),
    seed=st.integers(0, 10),
)
def test_any_times_and_any_limit_give_a_whole_and_valid_table(
    stages: int, batches: list[int], minutes: float, seed: int
) -> None:
    """Also for times that break the rules: every entry there, none negative, measured ones marked so."""
    machine = FakeMachine(lambda a, b, n: (hash((a, b, n, seed)) % 1000) / 1e4)
    table = machine.profile(stages, batch_sizes=batches, minutes=minutes)
    assert set(table.entries) == _keys(stages, tuple(set(batches)))
    assert {k for k, latency in table.entries.items() if not latency.estimated} == set(machine.prepared)


def test_what_was_measured_is_recorded() -> None:
    stamp = {"id": "abc"}
    machine = FakeMachine(_linear)
    table = machine.profile(2, device="cuda:1", dtype="bfloat16", threads=2, machine=stamp)
    assert (table.device, table.dtype, table.threads) == ("cuda-1", "bfloat16", 2)
    assert (table.machine, table.input_shape) == (stamp, (3, 8, 8))
    assert machine.profile(2).machine["torch"] == importlib.metadata.version("torch")


def test_threads_are_set_for_the_measurement_and_restored() -> None:
    before, seen = torch.get_num_threads(), []
    wanted = before + 1

    def prepare(start: int, stop: int, batch: int) -> Callable[[], object]:
        seen.append(torch.get_num_threads())
        if len(seen) == 2:
            raise RuntimeError("broken backend")
        return lambda: None

    with pytest.raises(RuntimeError, match="broken"):
        profile_segments(prepare, 2, input_shape=(3, 8, 8), threads=wanted)
    assert seen == [wanted, wanted]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    "options",
    [
        {"minutes": 0},
        {"minutes": float("nan")},
        {"batch_sizes": ()},
        {"batch_sizes": (0,)},
        {"threads": 0},
        {"repeats": 0},
        {"warmup": -1},
    ],
)
def test_impossible_options_are_refused_before_anything_runs(options: dict[str, object]) -> None:
    machine = FakeMachine(_linear)
    with pytest.raises(ValueError, match=next(iter(options))):
        machine.profile(2, **options)
    assert machine.prepared == []


# --- PyTorch's segments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
def test_torch_segments_run_what_the_net_computes(name: str) -> None:
    net = create_net(name).eval()
    prepare = torch_segments(net, (3, 8, 8))
    x = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    expected = net(x)
    for start, stop, batch in _keys(net.num_stages, (4,)):
        output: Any = prepare(start, stop, batch)()
        torch.testing.assert_close(output[1][0], expected[stop - 1][0], rtol=1e-4, atol=1e-5)


def test_torch_segments_take_a_dtype_and_leave_the_net_alone() -> None:
    net = create_net("isresnext_tiny").train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    output: Any = torch_segments(net, (3, 8, 8), dtype="bfloat16")(1, 3, 2)()
    assert output[1][0].dtype == torch.bfloat16
    assert net.training
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_torch_segments_refuse_what_cannot_run() -> None:
    net = create_net("isresnext_tiny")
    with pytest.raises(ValueError, match="float33"):
        torch_segments(net, (3, 8, 8), dtype="float33")
    with pytest.raises(ValueError, match="int64"):
        torch_segments(net, (3, 8, 8), dtype=torch.int64)
    with pytest.raises(ValueError, match="channels"):
        torch_segments(net, (1, 8, 8))
    with pytest.raises(ValueError, match="meta"):
        torch_segments(net.to("meta"), (3, 8, 8))


# --- A machine that is busy now and then ----------------------------------------------------------------


def test_a_busy_while_slows_all_that_is_measured_in_turn_and_not_one_alone() -> None:
    """Three times as slow for a while; measured one after the other, (0, 2) would seem the slowest."""
    machine = FakeMachine(lambda a, b, n: (3 if 100.12 < machine.now < 100.3 else 1) * (b - a) / 1000)
    table = machine.profile(4, minutes=60)
    medians = [table.latency(0, stage).median_ms for stage in (1, 2, 3, 4)]
    assert medians == pytest.approx([1, 2, 3, 4])


def test_a_measurement_that_varies_is_marked_and_a_steady_one_is_not() -> None:
    busy = iter(range(10_000))
    steady = FakeMachine(_linear).profile(2, minutes=60)
    assert not any(latency.unstable for latency in steady.entries.values())
    assert steady.latency(0, 2).low_ms == pytest.approx(2)
    varying = FakeMachine(lambda a, b, n: (1 + next(busy) % 3) * (b - a) / 1000).profile(2, minutes=60)
    assert all(latency.unstable for latency in varying.entries.values())
    assert CostTable.from_json(varying.to_json()) == varying


def test_a_table_that_does_not_tell_how_steady_it_is_can_be_read() -> None:
    told = FakeMachine(_linear).profile(2, minutes=60).to_json()
    for entry in told["entries"]:
        del entry["low_ms"], entry["unstable"]
    latency = CostTable.from_json(told).latency(0, 2)
    assert (latency.median_ms, latency.low_ms, latency.unstable) == (pytest.approx(2), None, False)  # type: ignore[comparison-overlap]


def test_the_printed_table_marks_what_is_unstable() -> None:
    busy = iter(range(10_000))
    said = table_text(FakeMachine(lambda a, b, n: (1 + next(busy) % 3) / 1000).profile(1, minutes=60))
    assert "(0, 1)       1      2.000         1.000   3.000   3.000  unstable" in said
    assert "measure again when it is quiet" in said
