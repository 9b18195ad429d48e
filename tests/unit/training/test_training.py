"""The loop: what it learns, what it keeps, and what it refuses. Tiny nets, generated images."""

from __future__ import annotations

import copy
import errno
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import torch

from anytimenet.core.errors import StatisticsMissingError, TrainingError
from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader
from anytimenet.nets import EANN, create_net
from anytimenet.schemes import RunFacts
from anytimenet.tasks import Classification
from anytimenet.training import TrainConfig, launch, train
from anytimenet.training.checkpoint_header import UNHASHED_FORMAT
from anytimenet.training.checkpoints import Checkpoint
from anytimenet.training.run import Run
from anytimenet.training.settling import settled
from anytimenet.training.statistics import followed_norms, reestimate_statistics
from anytimenet.training.step import TrainingStep

PREPROCESSING = Preprocessing(8, 8, 1, mean=(0.5,), std=(0.25,))
CONFIG = TrainConfig(epochs=3, batch_size=16, lr=0.1, schedule="cosine", device="cpu", statistics="running")


def bars(count: int, seed: int) -> ImageSet:
    """Noisy images with one bright column (class 0) or row (class 1): learnt in a few steps."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 8, 8, 1), dtype=np.uint8)
    labels = rng.integers(0, 2, (count, 1))
    for image, (label,) in zip(images, labels, strict=True):
        place = rng.integers(1, 7)
        if label:
            image[place, :] += 150
        else:
            image[:, place] += 150
    return ImageSet(images, labels, tuple(map(str, range(count))))


def loaders(config: TrainConfig = CONFIG, count: int = 96) -> tuple[Loader, Loader]:
    training = Loader(
        bars(count, 0),
        PREPROCESSING,
        batch_size=config.batch_size,  # type: ignore[arg-type]
        augment=Augmentation(flip=True, pad=1),
        shuffle=True,
        seed=config.seed,
        drop_last=True,
    )
    return training, Loader(bars(64, 1), PREPROCESSING, batch_size=64)


def tiny(name: str = "isresnext_tiny") -> torch.nn.Module:
    torch.manual_seed(0)
    return create_net(name, 2, in_channels=1)


def run(config: TrainConfig = CONFIG, net=None, **options):
    net = net or tiny()
    return net, train(net, *loaders(config), Classification((2,)), config, **options)


def assert_equal_weights(one: torch.nn.Module, other: torch.nn.Module) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny", "resnet_tiny"])
def test_every_stage_of_every_family_learns(name):
    _, result = run(replace(CONFIG, epochs=8), tiny(name))
    assert min(result.val_scores) > 0.9
    assert result.history[-1]["loss"] < result.history[0]["loss"] / 2


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    (one, _), (same, _), (other, _) = run(), run(), run(replace(CONFIG, seed=1))
    assert_equal_weights(one, same)
    assert not torch.equal(one.heads[0].levels[0].fc.weight, other.heads[0].levels[0].fc.weight)


@pytest.mark.parametrize("layout", [True, False])
def test_the_memory_layout_changes_nothing_but_rounding(layout):
    plain, _ = run(replace(CONFIG, epochs=1, channels_last=layout))
    other, _ = run(replace(CONFIG, epochs=1, channels_last=not layout))
    for a, b in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_one_step_is_nesterov_sgd_with_decay_on_every_parameter():
    config = replace(CONFIG, epochs=1, schedule="multistep", milestones=(), weight_decay=0.01, batch_size=96)
    net, _ = run(config)
    reference = tiny()
    x, labels = next(loaders(config)[0].epoch(0))
    reference.train()
    sum(torch.nn.functional.cross_entropy(out[0], labels[0]) for out in reference(x)).backward()
    for ours, before in zip(net.parameters(), reference.parameters(), strict=True):
        gradient = before.grad + 0.01 * before
        expected = before - 0.1 * (gradient + 0.9 * gradient)  # first step: momentum buffer = gradient
        torch.testing.assert_close(ours, expected.detach(), rtol=1e-4, atol=1e-5)


def test_norms_and_biases_can_be_spared_the_decay():
    config = replace(CONFIG, epochs=1, schedule="multistep", milestones=(), weight_decay=0.5, batch_size=96)
    net, _ = run(replace(config, decay_norms_and_biases=False))
    reference = tiny()
    x, labels = next(loaders(config)[0].epoch(0))
    reference.train()
    sum(torch.nn.functional.cross_entropy(out[0], labels[0]) for out in reference(x)).backward()
    spared = 0
    for ours, before in zip(net.parameters(), reference.parameters(), strict=True):
        gradient = before.grad + (0.5 * before if before.ndim > 1 else 0)
        expected = before - 0.1 * (gradient + 0.9 * gradient)
        torch.testing.assert_close(ours, expected.detach(), rtol=1e-4, atol=1e-5)
        spared += before.ndim < 2
    assert spared > 10


def test_clipping_bounds_the_step():
    config = replace(CONFIG, epochs=1, batch_size=96, weight_decay=0.0, clip_norm=1e-3)
    net, _ = run(config)
    moved = [(a - b).detach().norm() for a, b in zip(net.parameters(), tiny().parameters(), strict=True)]
    assert torch.stack(moved).norm() <= 0.1 * 1.9 * 1e-3 * 1.001


def test_bf16_trains_float32_weights():
    net, result = run(replace(CONFIG, epochs=6, precision="bf16"))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert result.val_scores[-1] > 0.9


def test_the_best_validated_weights_come_back_and_the_last_are_kept_too(tmp_path):
    net, result = run(replace(CONFIG, epochs=6, lr=0.8), folder=tmp_path)
    scores = [record["val"][-1] for record in result.history]
    assert result.val_scores[-1] == max(scores)
    assert result.best_epoch == 1 + max(i for i, score in enumerate(scores) if score == max(scores))
    assert result.last_val_scores == result.history[-1]["val"]
    _, validation = loaders()
    net.eval()
    meter = Classification((2,)).meter()
    for x, labels in validation.epoch(0):
        for stage, output in enumerate(net(x), 1):
            meter.update(stage, output, labels)
    assert list(meter.scores().values()) == pytest.approx(result.val_scores)


def test_selection_by_the_mean_over_stages():
    config = replace(CONFIG, epochs=5, lr=0.8)
    _, result = run(replace(config, select="mean"))
    means = [sum(record["val"]) / len(record["val"]) for record in result.history]
    assert means[result.best_epoch - 1] == max(means)


class PowerCutError(Exception):
    """Stands for a power cut."""


@pytest.mark.parametrize("name", ["isresnext_tiny", "iresnext_tiny"])
@pytest.mark.parametrize("stop_after", [1, 4, 6, 9, 13])
def test_a_run_cut_off_anywhere_ends_in_equal_weights(tmp_path, monkeypatch, name, stop_after):
    config = replace(CONFIG, checkpoint_steps=2)
    whole, expected = run(config, tiny(name))

    steps = iter(range(stop_after))
    train_step = TrainingStep.take

    def interrupted(self, x, labels, position):
        if next(steps, None) is None:
            raise PowerCutError
        return train_step(self, x, labels, position)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "take", interrupted)
        with pytest.raises(PowerCutError):
            run(config, tiny(name), folder=tmp_path)
    net = tiny(name)
    torch.manual_seed(123)  # a new process has another generator state by now
    resumed, result = run(config, net, folder=tmp_path, resume=True)
    assert_equal_weights(resumed, whole)
    assert result.history == expected.history
    assert result.best_epoch == expected.best_epoch
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in logged] == [1, 2, 3]


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    done, _ = run(folder=tmp_path)
    again, result = run(net=tiny(), folder=tmp_path, resume=True)
    assert_equal_weights(again, done)
    assert len(result.history) == CONFIG.epochs


def test_resume_refuses_a_checkpoint_of_another_run_and_names_what_differs(tmp_path):
    run(folder=tmp_path)
    with pytest.raises(TrainingError, match=r"lr was 0.1, is 0.2"):
        run(replace(CONFIG, lr=0.2), folder=tmp_path, resume=True)


@pytest.mark.parametrize("damage", [b"", b"no safetensors at all", None])
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    run(folder=tmp_path)
    path = tmp_path / "checkpoints" / "last.safetensors"
    path.write_bytes(path.read_bytes()[:-10] if damage is None else damage)
    with pytest.raises(TrainingError, match=r"last\.safetensors is damaged"):
        run(folder=tmp_path, resume=True)


def test_a_loss_that_is_not_finite_stops_with_step_stage_and_the_last_good_checkpoint(tmp_path):
    task = Classification((2,))

    class Breaks:
        num_classes, augmentation, meter, decode = task.num_classes, None, task.meter, task.decode
        calls = 0

        def loss(self, output, labels):
            Breaks.calls += 1
            # Three stages and six steps an epoch: the 20th call is stage 2 in the 7th step.
            return task.loss(output, labels) * (float("nan") if Breaks.calls == 20 else 1)

    with pytest.raises(TrainingError, match=r"stage 2 is nan in step 7 \(epoch 2\).*last\.safetensors"):
        train(tiny(), *loaders(), Breaks(), CONFIG, folder=tmp_path)
    weights = Checkpoint.load(tmp_path / "checkpoints" / "last.safetensors").tensors
    assert all(torch.isfinite(tensor).all() for name, tensor in weights.items() if name.startswith("net."))


def test_no_space_is_an_error_and_leaves_every_older_file_intact(tmp_path, monkeypatch):
    run(replace(CONFIG, epochs=1), folder=tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}

    def full(path, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("anytimenet.training.checkpoints.write_bytes", full)
    with pytest.raises(TrainingError, match=r"No space left on device.*earlier files are intact"):
        run(replace(CONFIG, epochs=1), folder=tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")} == before
    assert before


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TrainingError, match=r"cannot be written.*out=FOLDER"):
        run(folder=tmp_path / "file" / "run")


@pytest.fixture
def half(tmp_path, monkeypatch):
    """The folder of a run that was cut off in its third epoch, after two best ones."""
    steps, step = iter(range(14)), TrainingStep.take

    def cut(self, x, labels, position):
        if next(steps, None) is None:
            raise PowerCutError
        return step(self, x, labels, position)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingStep, "take", cut)
        with pytest.raises(PowerCutError):
            run(HALF, folder=tmp_path)
    return tmp_path / "checkpoints"


HALF = replace(CONFIG, checkpoint_steps=1)


@pytest.mark.parametrize("loss", ["missing", "cut", "last"])
def test_lost_best_weights_do_not_stop_a_run_and_are_told(half, capsys, loss):
    best, last = half / "best.safetensors", half / "last.safetensors"
    if loss == "missing":
        best.unlink()
    elif loss == "cut":
        best.write_bytes(best.read_bytes()[:-20])
    else:  # whole, but not the best weights
        best.write_bytes(last.read_bytes())
    net, result = run(HALF, folder=half.parent, resume=True)
    assert "the best weights so far, those of epoch" in capsys.readouterr().err
    assert result.best_epoch == 3
    assert result.history[2]["val"] == result.val_scores
    assert all(torch.equal(t, result.last_weights[k]) for k, t in net.state_dict().items())
    assert len(result.history) == 3


def test_a_finished_run_whose_best_weights_are_lost_comes_back_with_its_last(tmp_path, capsys):
    _, result = run(folder=tmp_path)
    (tmp_path / "checkpoints" / "best.safetensors").unlink()
    again, resumed = run(folder=tmp_path, resume=True)
    assert "are lost (there is no checkpoint" in capsys.readouterr().err
    assert (resumed.best_epoch, resumed.val_scores) == (CONFIG.epochs, result.last_val_scores)
    assert all(torch.equal(t, result.last_weights[k]) for k, t in again.state_dict().items())
    assert (tmp_path / "checkpoints" / "best.safetensors").exists()


def test_best_copied_over_last_is_refused_with_what_can_be_done(half):
    (half / "last.safetensors").write_bytes((half / "best.safetensors").read_bytes())
    with pytest.raises(TrainingError, match=r"weights alone.*init=.*best\.safetensors"):
        run(HALF, folder=half.parent, resume=True)


def test_a_damaged_last_checkpoint_is_refused_with_what_can_be_done(half):
    path = half / "last.safetensors"
    spoilt = bytearray(path.read_bytes())
    spoilt[-1] ^= 1
    path.write_bytes(spoilt)
    with pytest.raises(TrainingError, match=r"is damaged.*init='.*best\.safetensors'"):
        run(HALF, folder=half.parent, resume=True)
    (half / "best.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"Start again in another out$"):
        run(HALF, folder=half.parent, resume=True)


def edited(path, **changes):
    """Writes the checkpoint anew, whole and with other content."""
    Checkpoint(**{**vars(Checkpoint.load(path)), **changes}).save(path)


def test_a_checkpoint_that_does_not_fit_the_run_is_refused_and_touches_nothing(half):
    path = half / "last.safetensors"
    whole = path.read_bytes()
    tensors = Checkpoint.load(path).tensors
    name = "net.heads.0.levels.0.fc.weight"
    momentum = f"optimiser.{name.removeprefix('net.')}.momentum_buffer"
    for changes, said in (
        ({"epoch": 4}, "no batch"),
        ({"batch": 99}, "no batch 100"),
        ({"tensors": {k: t for k, t in tensors.items() if k != name}}, f"{name} is missing"),
        ({"tensors": {k: t for k, t in tensors.items() if k != momentum}}, f"{momentum} is missing"),
        ({"tensors": {**tensors, "net.more": torch.zeros(1)}}, "net.more is unknown"),
        ({"tensors": {**tensors, name: tensors[name][:1].clone()}}, f"{name} in it is"),
        ({"tensors": {**tensors, name: tensors[name].double()}}, f"{name} in it is torch.float64"),
        ({"tensors": {**tensors, name: tensors[name] * float("nan")}}, f"{name} in it is not finite"),
    ):
        path.write_bytes(whole)
        edited(path, **changes)
        net = tiny()
        with pytest.raises(TrainingError, match=said):
            run(HALF, net, folder=half.parent, resume=True)
        assert_equal_weights(net, tiny())


def test_a_checkpoint_of_the_first_format_goes_on_with_a_notice(half, capsys):
    whole, _ = run(HALF)
    for name in ("last", "best"):
        path = half / f"{name}.safetensors"
        found = Checkpoint.load(path)
        told = {key: getattr(found, key) for key in ("epoch", "batch", "run", "progress")}
        metadata = {"format": UNHASHED_FORMAT, "header": json.dumps(told)}
        path.write_bytes(safetensors.torch.save(dict(found.tensors), metadata=metadata))
    net, _ = run(HALF, folder=half.parent, resume=True)
    assert "last.safetensors was written by an older version" in capsys.readouterr().err
    assert_equal_weights(net, whole)
    assert Checkpoint.load(half / "last.safetensors").hashed


def breaking(monkeypatch, step: int) -> None:
    """One weight becomes NaN in that step, counted from 1, after its loss was looked at."""
    train_step = TrainingStep.take

    def broken(self, x, labels, position):
        values = train_step(self, x, labels, position)
        if position.step + 1 == step:
            with torch.no_grad():
                self.net.heads[2].levels[0].fc.weight[0, 0] = float("nan")
        return values

    monkeypatch.setattr(TrainingStep, "take", broken)


@pytest.mark.parametrize("step", [12, 18])
@pytest.mark.parametrize("validated", [True, False])
def test_weights_that_break_in_the_last_step_of_an_epoch_are_never_kept(
    tmp_path, monkeypatch, step, validated
):
    breaking(monkeypatch, step)
    training, validation = loaders()
    net, task = tiny(), Classification((2,))
    with pytest.raises(TrainingError, match=rf"fc\.weight.*step {step}.*best\.safetensors.*lower lr"):
        train(net, training, validation if validated else None, task, CONFIG, folder=tmp_path)
    before = step // 6 - 1
    for name in ("best", "last"):
        found = Checkpoint.load(tmp_path / "checkpoints" / f"{name}.safetensors")
        assert found.epoch <= before
        assert all(torch.isfinite(t).all() for t in found.weights.values())
    assert all(torch.isfinite(p).all() for p in net.parameters())  # the best so far, for who has no folder
    with pytest.raises(TrainingError, match="the net holds the weights of epoch"):
        train(tiny(), training, validation, task, CONFIG)


def test_weights_that_break_inside_an_epoch_are_not_checkpointed(tmp_path, monkeypatch):
    breaking(monkeypatch, 8)
    with pytest.raises(TrainingError, match="step 8"):
        run(HALF, folder=tmp_path)
    assert Checkpoint.load(tmp_path / "checkpoints" / "last.safetensors").batch == 1


@pytest.mark.parametrize("validated", [True, False])
def test_answers_that_are_not_finite_are_no_score(monkeypatch, validated):
    estimate = Run._estimate_missing

    def spoil(self):
        estimate(self)
        if self.position.epoch == 1:
            self.net.heads[1].levels[0].norm.running_var.fill_(float("nan"))

    monkeypatch.setattr(Run, "_estimate_missing", spoil)
    training, validation = loaders()
    with pytest.raises(TrainingError, match=r"after epoch 2 stage 2 answers.*not finite.*lower lr"):
        train(tiny(), training, validation if validated else None, Classification((2,)), CONFIG)


def test_cuda_where_there_is_none_is_refused():
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(TrainingError, match="device='cpu'"):
        run(replace(CONFIG, device="cuda"))


def test_statistics_that_training_does_not_track_are_those_of_its_batches_at_the_end_of_an_epoch():
    config = replace(CONFIG, epochs=1, statistics_batches=2)
    net, result = run(config, tiny("universally_slimmable_tiny"))
    assert net.stages_without_statistics() == ()
    training, validation = loaders(config)
    twin = copy.deepcopy(net)
    with torch.no_grad():  # training mode forgets them, and the batches of epoch 0 give them again
        twin.train()(torch.zeros(2, 1, 8, 8))
    assert twin.stages_without_statistics() == tuple(range(1, net.num_stages + 1))
    with pytest.raises(StatisticsMissingError, match=r"an\.reestimate"):
        twin.eval()(torch.zeros(2, 1, 8, 8))
    assert reestimate_statistics(twin, training, num_batches=2) == 2
    assert_equal_weights(net, twin)
    [(x, labels)] = validation.epoch(0)
    with torch.no_grad():
        right = [(z.argmax(1) == labels[0]).float().mean().item() for (z,) in net.eval()(x)]
    assert result.val_scores == pytest.approx(right)


def test_without_validation_images_the_statistics_are_there_too():
    net = tiny("universally_slimmable_tiny")
    train(net, loaders()[0], None, Classification((2,)), replace(CONFIG, epochs=1))
    assert net.stages_without_statistics() == ()


def test_statistics_that_training_tracks_stay_as_they_are_beside_others_that_it_does_not():
    torch.manual_seed(0)
    members = [create_net(name, 2, in_channels=1) for name in ("resnet_tiny", "universally_slimmable_tiny")]
    run(replace(CONFIG, epochs=2, statistics_batches=1), EANN(members))
    tracked = {m.num_batches_tracked.item() for m in members[0].modules() if hasattr(m, "running_mean")}
    estimated = {m.num_batches_tracked.item() for m in members[1].modules() if hasattr(m, "running_mean")}
    assert tracked == {2 * len(loaders()[0])}
    assert estimated == {1}


@pytest.mark.parametrize("stop_after", [4, 9])
def test_a_run_without_tracked_statistics_resumes_bit_for_bit(tmp_path, monkeypatch, stop_after):
    config = replace(CONFIG, checkpoint_steps=1, scheme="slimmable", statistics_batches=2)
    whole, expected = run(config, tiny("universally_slimmable_tiny"), folder=tmp_path / "whole")
    step, done = TrainingStep.take, []

    def cut(self, x, labels, position):
        if len(done) == stop_after:
            raise KeyboardInterrupt
        done.append(1)
        return step(self, x, labels, position)

    with monkeypatch.context() as patched:
        patched.setattr(TrainingStep, "take", cut)
        with pytest.raises(KeyboardInterrupt):
            run(config, tiny("universally_slimmable_tiny"), folder=tmp_path / "cut")
    again, result = run(config, tiny("universally_slimmable_tiny"), folder=tmp_path / "cut", resume=True)
    assert_equal_weights(whole, again)
    assert result.val_scores == expected.val_scores


def test_the_mean_is_over_the_stages_that_learn_fine_labels():
    config = replace(CONFIG, epochs=1, scheme="coarse_to_fine", select="mean")
    torch.manual_seed(0)
    net = create_net("isresnext_tiny", (2, 1), in_channels=1)
    training, validation = loaders(config)
    run_of = Run(
        net, training, validation, Classification((2, 1)), config, None, {}, launch(config), RunFacts()
    )
    assert [run_of.step.scheme.targets.learns_fine_labels(stage) for stage in (1, 2, 3)] == [
        False,
        True,
        True,
    ]
    assert run_of._score([0.0, 0.5, 0.75]) == 0.625


def test_runs_from_before_there_were_statistics_batches_go_on_and_others_differ():
    assert "statistics_batches" not in CONFIG.identity
    assert replace(CONFIG, statistics_batches=4).identity["statistics_batches"] == 4


class TestStatistics:
    """`statistics` and what it leaves alone."""

    def test_precise_ones_change_no_step_and_are_those_of_training_batches(self):
        _, plain = run(CONFIG)
        net, result = run(replace(CONFIG, statistics="precise"))
        twin = tiny()
        twin.load_state_dict(plain.last_weights)
        reestimate_statistics(twin, loaders()[0], num_batches=32)
        assert all(torch.equal(t, result.last_weights[name]) for name, t in twin.state_dict().items())
        _, validation = loaders()
        [(x, labels)] = validation.epoch(0)
        with torch.no_grad():
            right = [(z.argmax(1) == labels[0]).float().mean().item() for (z,) in net.eval()(x)]
        assert right == pytest.approx(result.val_scores)

    def test_where_steps_are_few_they_find_what_running_ones_hide(self):
        config = replace(CONFIG, epochs=3, batch_size=32, lr=0.2)
        scores = {s: run(replace(config, statistics=s))[1].last_val_scores for s in ("running", "precise")}
        assert min(scores["precise"]) > max(scores["running"])

    @pytest.mark.parametrize("stop_after", [4, 9])
    def test_a_run_with_precise_ones_resumes_bit_for_bit(self, tmp_path, monkeypatch, stop_after):
        config = replace(CONFIG, checkpoint_steps=2, statistics="precise")
        whole, expected = run(config)
        step, done = TrainingStep.take, []

        def cut(self, x, labels, position):
            if len(done) == stop_after:
                raise PowerCutError
            done.append(1)
            return step(self, x, labels, position)

        with monkeypatch.context() as patch:
            patch.setattr(TrainingStep, "take", cut)
            with pytest.raises(PowerCutError):
                run(config, folder=tmp_path)
        net, result = run(config, folder=tmp_path, resume=True)
        assert_equal_weights(net, whole)
        assert result.history == expected.history
        assert all(torch.equal(t, expected.last_weights[n]) for n, t in result.last_weights.items())
        again, finished = run(config, folder=tmp_path, resume=True)
        assert_equal_weights(again, whole)
        assert all(torch.equal(t, expected.last_weights[n]) for n, t in finished.last_weights.items())

    def test_best_ones_that_are_lost_are_made_again_from_the_last_checkpoint(self, tmp_path, capsys):
        config = replace(CONFIG, epochs=2, statistics="precise")
        _, result = run(config, folder=tmp_path)
        (tmp_path / "checkpoints" / "best.safetensors").unlink()
        net, _ = run(config, folder=tmp_path, resume=True)
        assert "are lost" in capsys.readouterr().err
        assert all(torch.equal(t, result.last_weights[name]) for name, t in net.state_dict().items())

    def test_auto_decides_once_and_the_checkpoint_remembers(self, tmp_path, monkeypatch):
        config = replace(CONFIG, epochs=1, statistics="auto")
        run(config, folder=tmp_path)
        path = tmp_path / "checkpoints" / "last.safetensors"
        assert Checkpoint.load(path).run["statistics"] == "precise"
        monkeypatch.setattr("anytimenet.training.settling.FEW_STEPS", 1)
        run(config, folder=tmp_path, resume=True)
        assert Checkpoint.load(path).run["statistics"] == "precise"
        with pytest.raises(TrainingError, match="statistics was 'precise', is 'running'"):
            run(replace(config, statistics="running"), folder=tmp_path, resume=True)

    def test_a_run_from_before_there_was_a_choice_goes_on_with_running_ones(self, tmp_path):
        config = replace(CONFIG, epochs=1)
        run(config, folder=tmp_path)
        path = tmp_path / "checkpoints" / "last.safetensors"
        told = {k: v for k, v in Checkpoint.load(path).run.items() if k != "statistics"}
        for name in ("last", "best"):
            edited(path.with_name(f"{name}.safetensors"), run=told)
        run(replace(config, statistics="auto"), folder=tmp_path, resume=True)
        with pytest.raises(TrainingError, match="statistics was 'running', is 'precise'"):
            run(replace(config, statistics="precise"), folder=tmp_path, resume=True)

    @pytest.mark.parametrize(
        ("momentum", "steps", "kind"),
        [
            (0.1, 999, "precise"),
            (0.1, 1000, "running"),
            (0.01, 9_999, "precise"),
            (0.01, 10_000, "running"),
            (0.5, 999, "precise"),
            (0.5, 1000, "running"),
        ],
    )
    def test_norms_that_remember_longer_are_few_steps_for_longer(self, momentum, steps, kind):
        net = create_net("efficientnet_lite_tiny")
        norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for norm in norms[1:]:
            norm.momentum = 0.1
        norms[0].momentum = momentum
        assert settled(TrainConfig(statistics="auto"), net, steps=steps).statistics == kind

    def test_statistics_that_stages_share_are_never_estimated(self):
        torch.manual_seed(0)
        nets = [create_net("iresnext_tiny", 2, in_channels=1, normalisation="shared") for _ in range(2)]
        nets[1].load_state_dict(nets[0].state_dict())
        config = replace(CONFIG, epochs=1)
        for net, statistics in zip(nets, ("auto", "running"), strict=True):
            run(replace(config, statistics=statistics), net)
        assert_equal_weights(*nets)
        assert nets[0].stages_to_estimate() == ()
        assert nets[0].keep((2,)).stages_to_estimate() == (1,)
        with pytest.raises(ValueError, match="share BatchNorms"):
            run(replace(config, statistics="precise"), nets[0])

    def test_nor_those_of_a_net_of_ones_own_that_shares_them(self):
        class Twice(type(tiny())):
            def forward(self, x, stages=None):
                return [super(Twice, self).forward(x, (s,))[0] for s in self.check_stages(stages)]

        net = tiny()
        net.__class__ = Twice
        config, example = replace(CONFIG, epochs=1, statistics="auto"), torch.zeros(2, 1, 8, 8)
        assert settled(config, net, steps=6, example=example).statistics == "running"
        with pytest.raises(ValueError, match="share BatchNorms"):
            run(replace(config, statistics="precise"), net)

    def test_a_net_without_any_and_one_that_estimates_its_own_are_left_alone(self):
        example = torch.zeros(2, 1, 8, 8)
        for name in ("universally_slimmable_tiny", "isresnext_tiny"):
            net = tiny(name)
            if name == "isresnext_tiny":
                for norm in followed_norms(net):
                    norm.track_running_stats, norm.running_mean, norm.running_var = False, None, None
            for statistics in ("auto", "precise"):
                config = replace(CONFIG, statistics=statistics)
                assert settled(config, net, steps=6, example=example).statistics == "running"

    def test_members_that_share_none_are_estimated_beside_one_that_does(self):
        torch.manual_seed(0)
        shared = create_net("iresnext_tiny", 2, in_channels=1, normalisation="shared")
        net = EANN([shared, create_net("resnet_tiny", 2, in_channels=1)])
        assert net.stages_to_estimate() == (4,)
        run(replace(CONFIG, epochs=1, statistics="precise", statistics_batches=2), net)
        counted = [
            {m.num_batches_tracked.item() for m in member.modules() if hasattr(m, "running_mean")}
            for member in net.members
        ]
        assert min(counted[0]) > 2
        assert counted[1] == {2}

    def test_no_more_batches_than_asked_for_are_read(self):
        read = []

        class Counting(Loader):
            def epoch(self, number, start=0):
                for batch in super().epoch(number, start):
                    read.append(number)
                    yield batch

        training, validation = loaders()
        training.__class__ = Counting
        config = replace(CONFIG, epochs=2, statistics="precise", statistics_batches=2)
        train(tiny(), training, validation, Classification((2,)), config)
        assert len(read) == 2 * 6 + 3 * 2 + 1  # steps; two epochs and the end; a first look at the images
