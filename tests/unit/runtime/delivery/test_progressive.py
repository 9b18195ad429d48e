"""What a model that is still arriving promises, with arrivals that a test lets in."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from anytimenet.core.errors import BundleError, DeliveryError
from anytimenet.runtime.delivery.progressive import ProgressiveModel


class Arriving:
    """Arrivals that a test lets in: how many stages are here, or an error."""

    def __init__(self, num_stages: int, *, mends: bool = False) -> None:
        self.folder, self.num_stages = Path("nowhere"), num_stages
        self.mends, self.rest, self.asked = mends, 0, [0]
        self.let_in: queue.Queue[int | Exception | None] = queue.Queue()

    def bring(self, stages: int) -> int:
        self.asked.append(stages)
        ready = 0
        while ready < stages:
            found = self.let_in.get()
            if found is None:
                raise DeliveryError("closed")
            if isinstance(found, Exception):
                raise found
            ready = found
        return ready

    def bring_rest(self) -> None:
        self.rest += 1

    def spoilt(self, stages: int) -> bool:
        return self.mends

    def close(self) -> None:
        self.let_in.put(None)


def counting(before: tuple[int, ...] | None, stages: int) -> tuple[int, ...]:
    """A net that is the list of its upgrades."""
    return (*(before or ()), stages)


@contextmanager
def arriving(
    arrivals: Arriving,
    grow: Callable[[tuple[int, ...] | None, int], tuple[int, ...]] = counting,
    stages: int | None = None,
) -> Iterator[ProgressiveModel[tuple[int, ...]]]:
    with ProgressiveModel(arrivals, grow, stages) as model:
        yield model


@examples(30)
@given(st.lists(st.integers(1, 6), max_size=6), st.integers(1, 6))
def test_each_upgrade_grows_the_net_before_it_and_never_shrinks_it(ready, wanted):
    arrivals = Arriving(6)
    rising = [count for i, count in enumerate(ready) if count > max(ready[:i], default=0)]
    for count in (*ready, 6):
        arrivals.let_in.put(count)
    with arriving(arrivals, stages=wanted) as model:
        last = model.wait(timeout_s=30)
        assert model.complete
        assert model.stages_ready == wanted
    expected = sorted({min(count, wanted) for count in (*rising, 6)})
    assert last == tuple(expected)
    assert arrivals.rest == 0, "part of a net does not need the rest of its folder"


def test_the_rest_comes_after_the_last_stage():
    arrivals = Arriving(2)
    arrivals.let_in.put(2)
    with arriving(arrivals) as model:
        model.wait(timeout_s=30)
    assert arrivals.rest == 1


def test_an_error_is_raised_by_wait_kept_and_forgotten_by_a_retry_that_works():
    arrivals = Arriving(3)
    arrivals.let_in.put(1)
    with arriving(arrivals) as model:
        assert model.wait(1, timeout_s=30) == (1,)
        arrivals.let_in.put(DeliveryError("the cable was cut"))
        with pytest.raises(DeliveryError, match="the cable was cut"):
            model.wait(2, timeout_s=30)
        assert model.wait(1) == (1,)
        assert str(model.error) == "the cable was cut"
        arrivals.let_in.put(3)
        model.retry()
        assert model.wait(timeout_s=30) == (1, 3)
        assert model.error is None


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BundleError("not this net"), "not this net"),
        (MemoryError(), "the stages that arrived cannot be used: MemoryError"),
        (RuntimeError("odd"), "the stages that arrived cannot be used: RuntimeError: odd"),
    ],
)
def test_a_net_that_cannot_grow_says_so_and_answers_on(error, reason):
    def grow(before: tuple[int, ...] | None, stages: int) -> tuple[int, ...]:
        if stages > 1:
            raise error
        return counting(before, stages)

    arrivals = Arriving(2)
    arrivals.let_in.put(1)
    with arriving(arrivals, grow) as model:
        model.wait(1, timeout_s=30)
        arrivals.let_in.put(2)
        with pytest.raises((BundleError, DeliveryError), match=reason):
            model.wait(2, timeout_s=30)
        assert model.model == (1,)


def test_what_can_still_be_mended_does_not_end_a_wait(caplog):
    broken = [True]

    def grow(before: tuple[int, ...] | None, stages: int) -> tuple[int, ...]:
        if broken.pop():
            raise BundleError("half written")
        return counting(before, stages)

    broken.insert(0, False)
    arrivals = Arriving(1, mends=True)
    arrivals.let_in.put(1)
    with arriving(arrivals, grow) as model:
        while not caplog.records:
            with pytest.raises(
                DeliveryError, match=r"stage 1 has not arrived in 0\.01 s: no stage answers yet"
            ):
                model.wait(1, timeout_s=0.01)
        assert "half written; it is looked at again when it changes" in caplog.text
        arrivals.let_in.put(1)
        assert model.wait(1, timeout_s=30) == (1,)
        assert model.error is None


def test_closing_lets_everybody_go_and_answers_on():
    arrivals = Arriving(2)
    arrivals.let_in.put(1)
    model = ProgressiveModel(arrivals, counting)
    model.wait(1, timeout_s=30)
    failures: list[str] = []

    def waits() -> None:
        with pytest.raises(DeliveryError) as caught:
            model.wait(2)
        failures.append(str(caught.value))

    thread = threading.Thread(target=waits)
    thread.start()
    model.close()
    thread.join()
    assert failures == ["the delivery was closed before stage 2 had arrived: stages 1 to 1 answer"]
    assert model.model == (1,)
    assert model.error is None
    model.close()
    model.retry()
    assert not model.complete


@pytest.mark.parametrize("wrong", [0, 4, -1])
def test_stages_that_are_not_there_are_refused(wrong):
    with pytest.raises(ValueError, match="stages"):
        ProgressiveModel(Arriving(3), counting, wrong)
    with arriving(Arriving(3)) as model, pytest.raises(ValueError, match="stages"):
        model.wait(wrong)
