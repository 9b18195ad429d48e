"""Two processes learn what one learns that accumulates the two half batches, and stop together."""

from __future__ import annotations

import shutil

import pytest
import torch

NETS = ["isresnext_tiny", "iresnext_tiny", "resnet_tiny", "msdnet_tiny"]
ROUNDING = 1e-10


@pytest.mark.parametrize("name", NETS)
def test_two_processes_equal_one_that_accumulates_two_halves(pair, name):
    one, other = pair.run("halves", name=name)
    assert one["difference"] < ROUNDING
    assert one["moved"] > 0.01
    assert one["weights"] == other["weights"]
    assert one["losses"] == other["losses"]


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("five exits", "block_dependent_distilled"),
        ("five exits", "block_dependent_final"),
        ("msdnet_tiny", "equilibrium"),
        ("five exits", "grouped"),
        ("isresnext_tiny", "ema_teacher"),
        ("isresnext_tiny", "sieve_alternating"),
        ("iresnext_tiny", "adaloss"),
        ("iresnext_tiny", "slimmable"),
        ("universally_slimmable_tiny", "slimmable"),
        ("isresnext_tiny", "drawn"),
        ("isresnext_tiny", "td"),
    ],
)
def test_two_processes_equal_one_under_other_schemes(pair, name, scheme):
    one, other = pair.run("halves", name=name, scheme=scheme)
    assert one["difference"] < ROUNDING
    assert one["moved"] > 0.01
    assert one["weights"] == other["weights"]
    assert one["losses"] == other["losses"]


@pytest.mark.parametrize(
    ("name", "wrapped"),
    [
        (NETS[0], True),
        (NETS[1], False),
        (NETS[2], True),
        (NETS[3], True),
        ("with a parameter that nothing uses", False),
    ],
)
def test_one_backward_is_wrapped_and_several_are_not(pair, name, wrapped):
    assert pair.run("is_wrapped", name=name) == [wrapped, wrapped]


def test_looking_for_parameters_without_gradient_changes_nothing(pair):
    assert pair.run("probing_changes_nothing", name="isresnext_tiny") == [True, True]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("stop", [3, 5])
def test_a_run_of_two_cut_off_and_resumed_by_two_ends_in_equal_weights(pair, tmp_path, name, stop):
    assert pair.run("stopped_and_resumed", name=name, folder=str(tmp_path), stop=stop) == [True, True]


@pytest.mark.parametrize("name", NETS[:2])
def test_a_run_of_one_goes_on_with_two(pair, scenarios, tmp_path, name):
    scenarios.cut_off(0, name, str(tmp_path), 5, count=1)
    checkpoint = shutil.copy(tmp_path / "checkpoints" / "last.safetensors", tmp_path / "copy")
    for answer in pair.run("resumed_by_two", name=name, folder=str(tmp_path), checkpoint=str(checkpoint)):
        assert answer["difference"] < ROUNDING
        assert answer["epochs"] == [1, 2]


@pytest.mark.parametrize("name", NETS[:2])
def test_a_run_of_two_goes_on_with_one(pair, scenarios, tmp_path, name):
    pair.run("cut_off", name=name, folder=str(tmp_path), stop=5)
    checkpoint = shutil.copy(tmp_path / "checkpoints" / "last.safetensors", tmp_path / "copy")
    resumed, expected = scenarios.net_of(name, seed=1), scenarios.net_of(name)
    config = scenarios.replace(scenarios.CONFIG, checkpoint_steps=2)
    scenarios.train_here(resumed, scenarios.Shard(), config, folder=tmp_path, resume=True)
    scenarios.reference(expected, 1, start=checkpoint)
    assert scenarios.largest_difference(resumed, expected) < ROUNDING


@pytest.mark.parametrize(("regime", "epochs"), [("frozen", [0]), ("mixed", [0, 1, 2, 3])])
def test_heads_that_learn_alone_are_equal_in_all_processes(pair, regime, epochs):
    one, other = pair.run("regimes", regime=regime)
    assert one["weights"] == other["weights"]
    assert one["epochs"] == other["epochs"] == epochs
    assert one["backbone moved"] == (regime == "mixed")
    assert one["moved"] > 0


@pytest.mark.parametrize("count", [13, 1])
def test_validation_scores_are_those_of_one_process(pair, count):
    for answer in pair.run("validation", count=count):
        assert answer["two"] == pytest.approx(answer["one"], abs=1e-7)


def test_precise_statistics_are_equal_in_all_processes(pair):
    one, other = pair.run("precise")
    assert one == other


@pytest.mark.parametrize("name", NETS[:2])
def test_a_loss_that_is_not_finite_in_one_process_stops_both_with_the_same_words(pair, name):
    one, other = pair.answers("not_a_number", name=name)
    assert one == other
    assert one["error"].startswith("SharedTrainingError: the loss of stage 1 is nan in step 5 (epoch 2)")


def test_the_data_is_shared_without_overlap_from_end_to_end(pair, tmp_path):
    one, other = pair.run("shares", folder=str(tmp_path))
    assert len(one) == len(other) == 10  # two epochs of 40 images in batches of 8
    for epoch in (0, 1):
        read = [
            place for steps in (one, other) for step in steps[5 * epoch : 5 * epoch + 5] for place in step
        ]
        assert sorted(read) == list(range(40))
    assert {len(step) for step in (*one, *other)} == {4}
    assert one[:5] != one[5:]
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2


def test_a_gradient_that_nobody_has_stays_away_and_one_that_somebody_has_counts(pair):
    assert pair.run("gradients_of_some") == [[None, [1.0, 2.0], [1.5, 4.5]]] * 2


def test_running_statistics_are_averaged_and_counters_are_the_first_ones(pair):
    assert pair.run("buffers") == [[[1.5, 3.0], [7]]] * 2


def test_a_rule_that_is_not_linear_sees_the_mean_gradients_of_each_stage(pair, scenarios):
    one, other = pair.run("rule_that_is_not_linear")
    assert one == other
    parts = []
    for part in range(2):
        net = scenarios.net_of("resnet_tiny").train()
        x, labels = next(scenarios.training(scenarios.Shard(part, 2)).epoch(0))
        losses = [scenarios.Float64Classification((3,)).loss(output, labels) for output in net(x)]
        options = {"retain_graph": True, "materialize_grads": True}
        stages = [torch.autograd.grad(loss, list(net.parameters()), **options) for loss in losses]
        parts.append([torch.cat([g.flatten() for g in stage]) for stage in stages])
    expected = sum((a + b).sign() for a, b in zip(*parts, strict=True))
    assert one == expected.tolist()
    assert one != (sum(a.sign() + b.sign() for a, b in zip(*parts, strict=True)) / 2).tolist()


@pytest.mark.parametrize("order", ["orthogonal", "early", "random"])
def test_projected_gradients_of_two_are_those_of_one_that_averages_the_stages_of_two_halves(
    pair, scenarios, order
):
    one, other = pair.run("projected_step", order=order)
    assert one == other
    half: list[torch.Tensor] = []

    def keep(tensors):
        half.extend(tensor.clone() for tensor in tensors)

    def mean_with_kept(tensors):
        for tensor, kept in zip(tensors, half, strict=True):
            tensor.add_(kept).div_(2)

    alone = [torch.tensor(scenarios.projected_half(part, order)) for part in range(2)]
    scenarios.projected_half(1, order, keep)
    expected = torch.tensor(scenarios.projected_half(0, order, mean_with_kept))
    torch.testing.assert_close(torch.tensor(one), expected, rtol=0, atol=ROUNDING)
    assert (sum(alone) / 2 - expected).abs().max() > 1e-4  # projecting first is something else
