"""Configurations are checked when they are made; learning rates are a closed form of the step."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anytimenet.training import TrainConfig, preset
from anytimenet.training.config import learning_rate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("batch_size", 1),
        ("lr", 0.0),
        ("lr", math.nan),
        ("momentum", 1.0),
        ("weight_decay", -1.0),
        ("schedule", "linear"),
        ("milestones", (0.75, 0.5)),
        ("milestones", (0.0, 0.5)),
        ("lr_factors", (0.1,)),
        ("lr_factors", (0.1, 1.0)),
        ("lr_factors", (0.1, 0.0)),
        ("warmup", 1.0),
        ("clip_norm", 0.0),
        ("label_smoothing", 1.0),
        ("precision", "16"),
        ("device", "tpu"),
        ("select", "first"),
        ("checkpoint_steps", 0),
        ("statistics_batches", 0),
        ("clip_norm", math.inf),
        ("weight_decay", math.inf),
        ("lr", 10**400),
        ("seed", 2**63),
        ("scheme", "seive"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_name(field, value):
    with pytest.raises(ValueError, match=field):
        TrainConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 1.5),
        ("epochs", "3"),
        ("epochs", True),
        ("lr", None),
        ("lr", "0.1"),
        ("nesterov", "no"),
        ("decay_norms_and_biases", "no"),
        ("drop_last", 1),
        ("nesterov", 0),
        ("milestones", 0.5),
        ("milestones", "0.5"),
        ("schedule", None),
        ("statistics_batches", 2.5),
        ("scheme", 3),
        ("seed", 1.0),
        ("channels_last", None),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_name(field, value):
    with pytest.raises(TypeError, match=field):
        TrainConfig(**{field: value})


def test_numbers_of_numpy_are_plain_numbers_in_a_configuration():
    config = TrainConfig(
        epochs=np.int64(3), lr=np.float32(0.5), milestones=np.array([0.25, 0.5]), nesterov=np.True_
    )
    assert config == TrainConfig(epochs=3, lr=0.5, milestones=(0.25, 0.5), nesterov=True)
    assert json.loads(json.dumps(config.to_dict())) == config.to_dict()


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValueError, match="nesterov"):
        TrainConfig(momentum=0.0)


def test_the_presets_are_the_published_settings():
    paper = preset("paper")
    assert (paper.epochs, paper.batch_size, paper.lr, paper.momentum) == (300, 64, 0.1, 0.9)
    assert (paper.nesterov, paper.weight_decay, paper.milestones) == (True, 1e-4, (0.5, 0.75))
    assert not preset("official_code").nesterov
    imagenet, cub = preset("paper_imagenet"), preset("paper_cub")
    assert (imagenet.epochs, imagenet.batch_size, cub.epochs, cub.batch_size) == (90, 96, 150, 64)
    assert preset("fast", epochs=3).epochs == 3
    with pytest.raises(ValueError, match="did you mean 'paper'"):
        preset("papr")


def test_the_papers_schedule_divides_by_ten_after_half_and_three_quarters():
    rates = [learning_rate(preset("paper"), 704 * epoch, 704) for epoch in (0, 149, 150, 224, 225, 299)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("name", "drops"), [("paper_imagenet", (30, 60)), ("paper_cub", (75, 112)), ("official_code", (150, 225))]
)
def test_the_other_published_schedules_drop_where_the_paper_says(name, drops):
    rates = [learning_rate(preset(name), 10 * epoch, 10) for epoch in range(preset(name).epochs)]
    falls = tuple(epoch for epoch in range(1, len(rates)) if rates[epoch] < rates[epoch - 1])
    assert falls == drops


def test_the_anytime_neural_network_falls_tenfold_twice_and_then_fivefold():
    config = preset("ann_cifar")
    assert (config.epochs, config.batch_size, config.nesterov, config.weight_decay) == (300, 128, False, 2e-4)
    rates = [learning_rate(config, 391 * epoch, 391) for epoch in (0, 139, 140, 209, 210, 249, 250, 299)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001, 2e-4, 2e-4])


def test_the_anytime_neural_network_falls_tenfold_four_times_on_imagenet():
    config = preset("ann_imagenet")
    assert (config.epochs, config.batch_size, config.nesterov, config.weight_decay) == (128, 256, False, 1e-4)
    rates = [learning_rate(config, 10 * epoch, 10) for epoch in range(128)]
    expected = [0.1 * 0.1 ** sum(epoch >= fall for fall in (30, 60, 90, 105)) for epoch in range(128)]
    assert rates == pytest.approx(expected)


def test_without_factors_every_milestone_divides_by_ten():
    tenths = TrainConfig(milestones=(0.25, 0.5, 0.75), lr_factors=(0.1, 0.1, 0.1))
    plain = TrainConfig(milestones=(0.25, 0.5, 0.75))
    for epoch in range(300):
        assert learning_rate(plain, epoch, 1) == learning_rate(tenths, epoch, 1)


def test_factors_that_json_brings_as_a_list_are_the_same_configuration():
    config = TrainConfig(lr_factors=[0.5, 0.2])
    assert config == TrainConfig(lr_factors=(0.5, 0.2))
    assert config.to_dict()["lr_factors"] == [0.5, 0.2]
    assert config.identity != TrainConfig().identity


@given(
    epochs=st.integers(1, 20),
    steps=st.integers(1, 30),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["cosine", "multistep"]),
)
def test_rates_stay_within_the_peak_and_rise_to_it_through_warm_up(epochs, steps, warmup, schedule):
    config = TrainConfig(epochs=epochs, lr=0.4, warmup=warmup, schedule=schedule)
    rates = [learning_rate(config, step, steps) for step in range(epochs * steps)]
    assert all(0 < rate <= 0.4 for rate in rates)
    rising = rates[: round(warmup * len(rates))]
    assert rising == sorted(rising)
    if schedule == "cosine":
        falling = rates[len(rising) :]
        assert falling == sorted(falling, reverse=True)


def test_a_cosine_starts_at_the_peak_and_is_halfway_down_in_the_middle():
    config = TrainConfig(epochs=10, lr=1.0, schedule="cosine")
    assert learning_rate(config, 0, 10) == 1.0
    assert learning_rate(config, 50, 10) == pytest.approx(0.5)


def test_choices_that_came_later_tell_a_run_apart_only_where_they_are_made():
    plain = TrainConfig().identity
    for name in ("decay_norms_and_biases", "drop_last"):
        assert name not in plain
        assert TrainConfig(**{name: False}).identity == {**plain, name: False}
        assert TrainConfig(**{name: False}).to_dict()[name] is False
