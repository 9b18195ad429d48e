"""The classification task against closed forms and torchmetrics-free counting."""

from __future__ import annotations

import math

import pytest
import torch

from anytimenet.tasks import Classification


def test_the_loss_of_uniform_logits_is_the_log_of_the_number_of_classes_summed_over_levels():
    labels = (torch.tensor([0, 3, 1]), torch.tensor([1, 0, 1]))
    loss = Classification((5, 2)).loss((torch.zeros(3, 5), torch.zeros(3, 2)), labels)
    assert loss.item() == pytest.approx(math.log(5) + math.log(2), rel=1e-6)


def test_label_smoothing_of_a_certain_and_right_answer_costs_its_share():
    # With logits (t, 0), class 0 true and smoothing s the loss is log(1 + e^-t) + (s / 2) t.
    loss = Classification((2,), label_smoothing=0.2).loss((torch.tensor([[3.0, 0.0]]),), (torch.tensor([0]),))
    assert loss.item() == pytest.approx(math.log1p(math.exp(-3)) + 0.1 * 3, rel=1e-6)


def test_the_meter_counts_right_answers_of_each_stage_over_batches_of_unequal_size():
    meter = Classification((3,)).meter()
    eye = torch.eye(3)
    meter.update(1, (eye,), (torch.tensor([0, 1, 2]),))
    meter.update(1, (eye[:1],), (torch.tensor([2]),))
    meter.update(2, (eye,), (torch.tensor([1, 1, 1]),))
    assert meter.scores() == {1: pytest.approx(3 / 4), 2: pytest.approx(1 / 3)}


def test_decoding_gives_probabilities_of_every_level():
    fine, coarse = Classification((4, 2)).decode((torch.randn(3, 4), torch.randn(3, 2)))
    assert fine.shape == (3, 4)
    torch.testing.assert_close(coarse.sum(1), torch.ones(3, dtype=torch.float64))


def test_a_smoothing_of_one_is_refused():
    with pytest.raises(ValueError, match="label_smoothing must be at least 0 and below 1"):
        Classification((3,), label_smoothing=1.0)
