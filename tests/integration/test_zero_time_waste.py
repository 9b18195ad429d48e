"""Zero Time Waste from a trained backbone to examples that leave early: bundle, policies, protocols."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import anytimenet as an
from anytimenet.costs import stage_costs
from anytimenet.evaluation.protocols.budgeted_batch import exit_costs, sweep_budgeted_batch
from anytimenet.runtime import ConfidencePolicy, LeavingRun, simulated_exits


@pytest.fixture(scope="module")
def bundle() -> an.Bundle:
    """A small ResNeXt on digits whose exits were trained a little, then a cascade on it."""
    backbone = an.create_net("resnext_exits_tiny", 10, in_channels=1)
    config = an.TrainConfig(epochs=2, batch_size=64, schedule="cosine", warmup=0.25, device="cpu")
    trained = an.fit(backbone, "digits", config=config)
    net = an.zero_time_waste(trained.net, "conv")
    config = an.TrainConfig(regime="frozen", head_epochs=8, head_lr=5e-3, head_views=1, device="cpu")
    return an.fit(net, "digits", config=config)


def images(bundle: an.Bundle, count: int = 200) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(count, 1, 8, 8)).astype(np.float32)
    return np.concatenate([x[: count // 2], 0.3 * x[count // 2 :]])


def test_the_bundle_is_loaded_again_and_answers_the_same(bundle, tmp_path):
    again = an.load(bundle.save(tmp_path / "bundle"))
    x = torch.from_numpy(images(bundle, 8))
    with torch.no_grad():
        for one, other in zip(bundle.net.eval()(x), again.net.eval()(x), strict=True):
            torch.testing.assert_close(one[0], other[0])  # other layout of the weights in memory
    small = an.load(tmp_path / "bundle", stages=2)
    assert small.net.num_stages == 2


@pytest.mark.parametrize("threshold", np.linspace(0, 1, 5))
def test_examples_leave_where_one_threshold_on_the_largest_probability_says(bundle, threshold):
    x = images(bundle)
    policy = ConfidencePolicy("max_probability", (threshold, threshold, None))
    with torch.no_grad():
        outputs = [tuple(z.numpy() for z in output) for output in bundle.net.eval()(torch.from_numpy(x))]
    wanted = simulated_exits(policy, outputs)
    found = {answer.row: answer.stage for answer in LeavingRun(bundle, policy, batch=50).answers(x)}
    assert [found[row] for row in range(len(x))] == wanted.tolist()
    if threshold in (0, 1):
        assert set(wanted) == {1 if threshold == 0 else 3}


def test_budgeted_batches_are_solved_on_its_outputs(bundle):
    with torch.no_grad():
        outputs = bundle.net.eval()(torch.from_numpy(images(bundle)))
    confidence = np.stack([z.softmax(1).amax(1).numpy() for (z,) in outputs])
    right = np.stack([(z.argmax(1) == outputs[-1][0].argmax(1)).numpy() for (z,) in outputs])
    costs = exit_costs(stage_costs(bundle.net, (1, 8, 8)))
    assert costs == sorted(costs)
    budget = (costs[0] + costs[-1]) / 2
    found = sweep_budgeted_batch(confidence, confidence, right, costs, budgets=[budget])
    assert found.for_budgets[0].mean_cost <= budget
    assert found.points[-1].mean_cost > found.points[0].mean_cost
