"""Training regimes: what learns when, on which features. Tiny nets, generated images, closed forms."""

from __future__ import annotations

import copy
import json
import math
import weakref
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from tests.unit.training.test_training import assert_equal_weights, loaders
from torch import nn
from torch.nn import functional as F

from anytimenet.core.errors import TrainingError
from anytimenet.nets import create_net
from anytimenet.nets.chain import ChainNet, Node
from anytimenet.schemes import Distillation, EMATeacher, GivenTeacher, RunFacts, Scheme, TDLambda
from anytimenet.tasks import Classification
from anytimenet.training import Reporter, TrainConfig, train
from anytimenet.training.feature_cache import Room, StoredFeatures, features_of
from anytimenet.training.features import LiveFeatures
from anytimenet.training.heads_first import HeadsFirst
from anytimenet.training.regimes import check_regime, regime_for
from anytimenet.training.step import TrainingStep

CONFIG = TrainConfig(
    epochs=2,
    batch_size=16,
    lr=0.02,
    schedule="cosine",
    device="cpu",
    statistics="running",
    head_epochs=8,
    head_views=3,
)
AMPLE = Room(2**30, 0)


def conv(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after), nn.ReLU(), nn.Dropout(0.2)
    )


def pooled(channels: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 2))


def deep(channels: int) -> nn.Module:
    """A head with a convolution, a BatchNorm and dropout: nothing of it can be done beforehand."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(144, 2),
    )


def chain(head=pooled) -> ChainNet:
    torch.manual_seed(0)
    net = ChainNet(
        [[Node("one", conv(1, 6), ("x",))], [Node("two", conv(6, 8), ("one",))]],
        exits=("one", "two"),
        heads=[head(6), head(8)],
        num_classes=(2,),
        in_channels=1,
    )
    for buffer in net.buffers():  # statistics that no training here would give
        if buffer.is_floating_point():
            buffer.add_(0.1)
    return net


def run(config: TrainConfig, net: ChainNet, **options):
    torch.manual_seed(5)
    return train(net, *loaders(config), Classification((2,)), config, **options)


def state_of_backbone(net: ChainNet) -> dict[str, torch.Tensor]:
    return {name: t.clone() for name, t in net.state_dict().items() if not name.startswith("heads.")}


def heads_first(net: ChainNet, config: TrainConfig = CONFIG, facts: RunFacts | None = None) -> HeadsFirst:
    return HeadsFirst(net, Classification((2,)), config, facts or RunFacts(), nullcontext)


def stored(net: ChainNet, room: Room = AMPLE, views: int = 1):
    reader = heads_first(net).reader()
    return features_of(reader, loaders()[0], views=views, seed=3, room=room, device=torch.device("cpu"))


@pytest.mark.parametrize("head", [pooled, deep])
def test_a_frozen_backbone_is_bit_for_bit_what_it_was_and_the_heads_learn(head):
    net = chain(head)
    before, heads = state_of_backbone(net), copy.deepcopy(net.heads)
    result = run(replace(CONFIG, regime="frozen", head_epochs=60, head_lr=0.02), net)
    after = state_of_backbone(net)
    assert all(torch.equal(before[name], after[name]) for name in before)
    for old, new in zip(heads.parameters(), net.heads.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert result.best_epoch == 0
    assert [record["epoch"] for record in result.history] == [0]
    assert result.val_scores == result.history[0]["val"]
    assert max(result.history[0]["losses"]) < math.log(2)


def test_mixed_is_frozen_and_then_joint_from_those_weights():
    mixed, frozen = chain(), chain()
    told = run(replace(CONFIG, regime="mixed", heads_last=False), mixed)
    first = run(replace(CONFIG, regime="frozen"), frozen)
    then = run(CONFIG, frozen)
    for name, tensor in told.last_weights.items():
        assert torch.equal(tensor, then.last_weights[name]), name
    assert told.history == first.history + then.history


@pytest.mark.parametrize("statistics", ["running", "precise"])
def test_mixed_ends_with_heads_that_learn_on_the_backbone_that_came_out(statistics):
    config = replace(CONFIG, regime="mixed", statistics=statistics)
    net, other = chain(), chain()
    result = run(config, net)
    before = run(replace(config, heads_last=False), other)
    heads, backbone = copy.deepcopy(other.heads), state_of_backbone(other)
    again = run(replace(CONFIG, regime="frozen"), other)
    record = result.history[-1]
    assert (record["epoch"], result.best_epoch) == (config.epochs + 1, config.epochs + 1)
    for name, tensor in state_of_backbone(net).items():
        assert torch.equal(tensor, backbone[name]), name
    for place, (old, new) in enumerate(zip(before.val_scores, again.val_scores, strict=True)):
        better = new >= old
        assert record["kept"][place] == better
        assert_equal_weights(net.heads[place], (other.heads if better else heads)[place])
        assert result.val_scores[place] == max(old, new)


def test_a_head_that_validation_finds_worse_is_put_back():
    config = replace(CONFIG, regime="mixed", lr=0.05, epochs=3)
    net, before = chain(), chain()
    run(replace(config, heads_last=False), before)

    def spoil(self, source, progress=None):
        with torch.no_grad():
            for head in self._net.heads:
                for parameter in head.parameters():
                    parameter.copy_(-100 * parameter)
        return [0.0] * self._net.num_stages

    with pytest.MonkeyPatch.context() as patch:
        learn = HeadsFirst.learn
        calls = []
        turns = iter((learn, spoil))
        patch.setattr(
            HeadsFirst, "learn", lambda self, *given: (calls.append(1), next(turns)(self, *given))[1]
        )
        result = run(config, net)
    assert len(calls) == 2
    assert result.history[-1]["kept"] == [False, False]
    assert_equal_weights(net, before)


def test_the_heads_alone_are_chosen_where_no_epoch_is_better():
    net = chain()
    config = replace(CONFIG, regime="mixed", heads_last=False)
    result = run(replace(config, lr=1e4, clip_norm=1e4, epochs=1), net)
    assert result.best_epoch in (0, 1)
    best = max(result.history, key=lambda record: record["val"][-1])
    assert result.val_scores[-1] == best["val"][-1]
    frozen = chain()
    run(replace(CONFIG, regime="frozen"), frozen)
    if result.best_epoch == 0:
        assert_equal_weights(net, frozen)


@pytest.mark.parametrize("head", [pooled, deep])
def test_stored_features_are_those_that_are_computed_live(head):
    net = chain(head).eval()
    source = stored(net)
    assert isinstance(source, StoredFeatures)
    (batch,) = source.epoch(0)
    images = torch.cat([x for x, _ in loaders()[0].epoch(0)])
    with torch.no_grad():
        outputs = net(images)
        for stage, features in enumerate(batch.features, 1):
            (wanted,), seen = outputs[stage - 1], net.heads[stage - 1].predict(features)[0]
            order = [int((seen - row).abs().sum(1).argmin()) for row in wanted]
            assert sorted(order) == list(range(len(images)))
            assert torch.allclose(seen[order], wanted, atol=1e-5)
    if head is pooled:
        assert [tuple(features.shape[1:]) for features in batch.features] == [(6,), (8,)]


def test_heads_learn_from_stored_features_as_from_a_backbone_in_eval_mode():
    config = replace(CONFIG, head_epochs=3)
    net, other = chain(deep), chain(deep)
    source = stored(net, views=2)
    with torch.random.fork_rng():
        losses = heads_first(net, config).learn(source)

    # By brute force: the same images in the same order through the whole net.
    images = [batch for view in (0, 1) for batch in loaders()[0].epoch(view)]
    x, y = torch.cat([x for x, _ in images]), torch.cat([labels for _, (labels,) in images])
    optimiser = torch.optim.AdamW(
        other.heads.parameters(), lr=config.head_lr, weight_decay=config.head_weight_decay
    )
    torch.manual_seed(config.seed)
    for epoch in range(3):
        rows = source.rows(epoch)
        for group in optimiser.param_groups:
            group["lr"] = config.head_lr * (1 + math.cos(math.pi * epoch / 3)) / 2
        other.eval()
        other.heads.train()
        optimiser.zero_grad()
        found = [F.cross_entropy(logits, y[rows[0]]) for (logits,) in other(x[rows[0]])]
        sum(found).backward()
        optimiser.step()
    for (name, one), two in zip(net.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(one, two, atol=1e-4), name
    assert losses == pytest.approx([loss.item() for loss in found], abs=1e-4)


def test_all_views_are_seen_once_before_any_is_seen_again():
    source = stored(chain(), views=3)
    count = 96
    for first in (0, 3):
        rows = torch.cat([torch.from_numpy(r) for e in range(3) for r in source.rows(first + e)])
        assert sorted(rows.tolist()) == list(range(3 * count))
    assert source.rows(0)[0].tolist() != source.rows(3)[0].tolist()


def test_features_go_where_there_is_room(tmp_path):
    net = chain(deep)
    in_memory = stored(net, views=3)
    one_view = sum(column.nbytes for column in in_memory.columns) // 3
    fewer = stored(net, Room(2 * one_view, 0), views=3)
    assert isinstance(fewer, StoredFeatures)
    assert fewer.views == 2
    on_disc = stored(net, Room(0, 4 * one_view, tmp_path), views=3)
    assert isinstance(on_disc, StoredFeatures)
    assert list(tmp_path.iterdir()) == []  # the file has no name
    for one, other in zip(in_memory.columns, on_disc.columns, strict=True):
        assert torch.equal(one, other)
    assert isinstance(stored(net, Room(0, 0)), LiveFeatures)


def test_maps_are_not_held_where_moments_of_features_are_taken():
    net, seen = chain(deep), []

    class Watched(LiveFeatures):
        def epoch(self, number):
            for examples in super().epoch(number):
                seen.append(weakref.ref(examples.features[0]))
                yield examples
                del examples
                assert sum(ref() is not None for ref in seen) <= 1

    learner = heads_first(net, replace(CONFIG, head_epochs=1))
    learner.learn(Watched(learner.reader(), loaders()[0]))
    assert len(seen) == 2 * len(loaders()[0])


def test_heads_learn_from_features_that_nothing_holds():
    net = chain()
    losses = [
        heads_first(net, replace(CONFIG, head_epochs=count)).learn(stored(net, Room(0, 0)))
        for count in (1, 20)
    ]
    assert losses[1] < losses[0]


@pytest.mark.parametrize("targets", [Distillation(), TDLambda(), EMATeacher(source="last"), GivenTeacher()])
def test_heads_learn_what_the_scheme_says(targets):
    teacher = chain() if isinstance(targets, GivenTeacher) else None
    net = chain()
    before = state_of_backbone(net)
    run(replace(CONFIG, regime="frozen", scheme=Scheme(targets=targets)), net, teacher=teacher)
    after = state_of_backbone(net)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_head_without_weights_that_learn_stays_as_it_is():
    net = chain(deep)
    net.heads[1].requires_grad_(False)
    kept = copy.deepcopy(net.heads[1].state_dict())
    run(replace(CONFIG, regime="frozen"), net)
    for name, tensor in net.heads[1].state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_torchs_generators_are_left_alone():
    net = chain(deep)
    source, before = stored(net), torch.get_rng_state()
    heads_first(net).learn(source)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("regime", ["frozen", "mixed"])
def test_nets_without_a_backbone_are_refused(regime):
    with pytest.raises(ValueError, match=r"no chain of blocks.*use regime='joint'"):
        run(replace(CONFIG, regime=regime), create_net("isresnext_tiny", 2, in_channels=1))


def test_a_backbone_that_cannot_learn_has_no_joint_phase():
    net = chain()
    net.blocks.requires_grad_(False)
    with pytest.raises(ValueError, match="use regime='frozen'"):
        check_regime(net, "mixed")
    check_regime(net, "frozen")
    net.heads.requires_grad_(False)
    with pytest.raises(ValueError, match="no head of this net can learn"):
        check_regime(net, "frozen")


def test_statistics_of_a_frozen_backbone_are_not_estimated_anew():
    with pytest.raises(ValueError, match="statistics='auto'"):
        TrainConfig(regime="frozen", statistics="precise")


def test_the_regime_of_a_pretrained_net_with_exits_is_mixed():
    assert regime_for(chain(), pretrained=True) == "mixed"
    assert regime_for(chain(), pretrained=False) == "joint"
    assert regime_for(create_net("isresnext_tiny"), pretrained=True) == "joint"


def test_heads_may_learn_faster_than_the_backbone():
    one, other = chain(), chain()
    config = replace(CONFIG, epochs=1, momentum=0.0, nesterov=False, weight_decay=0.0)
    few = loaders(config, 16)
    start = copy.deepcopy(one.state_dict())
    for net, factor in ((one, 1.0), (other, 4.0)):
        torch.manual_seed(5)
        train(net, *few, Classification((2,)), replace(config, head_lr_factor=factor))
    for name, _ in one.named_parameters():
        once, faster = one.state_dict()[name] - start[name], other.state_dict()[name] - start[name]
        expected = 4 * once if name.startswith("heads.") else once
        assert torch.allclose(faster, expected, atol=1e-6), name


class PowerCutError(Exception):
    """Stands for a power cut."""


def cut(monkeypatch, kind, after: int):
    """Lets `kind` of step run so many times."""
    steps, step = iter(range(after)), getattr(kind, "_step" if kind is HeadsFirst else "take")

    def interrupted(self, *arguments):
        if next(steps, None) is None:
            raise PowerCutError
        return step(self, *arguments)

    monkeypatch.setattr(kind, step.__name__, interrupted)


@pytest.mark.parametrize("head", [pooled, deep])
@pytest.mark.parametrize(("kind", "after"), [(HeadsFirst, 3), (TrainingStep, 0), (TrainingStep, 4)])
def test_a_mixed_run_cut_off_anywhere_ends_in_equal_weights(tmp_path, monkeypatch, head, kind, after):
    config = replace(CONFIG, regime="mixed", checkpoint_steps=1, heads_last=False)
    whole = chain(head)
    expected = run(config, whole)
    with monkeypatch.context() as patch:
        cut(patch, kind, after)
        with pytest.raises(PowerCutError):
            run(config, chain(head), folder=tmp_path)
    assert (tmp_path / "checkpoints" / "last.safetensors").exists() == (kind is TrainingStep)
    resumed = chain(head)
    if kind is TrainingStep:  # what has been learnt is not learnt again
        cut(monkeypatch, HeadsFirst, 0)
    result = run(config, resumed, folder=tmp_path, resume=True)
    assert_equal_weights(resumed, whole)
    assert (result.history, result.best_epoch) == (expected.history, expected.best_epoch)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in logged] == [0, 1, 2]


@pytest.mark.parametrize("finished", [False, True])
def test_a_run_cut_off_while_heads_learn_again_or_after_it_ends_in_equal_weights(
    tmp_path, monkeypatch, finished
):
    config = replace(CONFIG, regime="mixed")
    whole, resumed, taken = chain(deep), chain(deep), []
    with monkeypatch.context() as patch:
        step = HeadsFirst._step
        patch.setattr(HeadsFirst, "_step", lambda self, *given: (taken.append(1), step(self, *given))[1])
        expected = run(config, whole)
    once = len(taken) // 2
    with monkeypatch.context() as patch:
        cut(patch, HeadsFirst, 2 * once if finished else once + 3)
        with nullcontext() if finished else pytest.raises(PowerCutError):
            run(config, chain(deep), folder=tmp_path)
    cut(monkeypatch, HeadsFirst, 0 if finished else once)
    cut(monkeypatch, TrainingStep, 0)
    result = run(config, resumed, folder=tmp_path, resume=True)
    assert_equal_weights(resumed, whole)
    assert (result.history, result.best_epoch) == (expected.history, expected.best_epoch)
    for name, tensor in expected.last_weights.items():
        assert torch.equal(result.last_weights[name], tensor), name


def test_a_finished_frozen_run_comes_back_as_it_was(tmp_path, monkeypatch):
    config = replace(CONFIG, regime="frozen")
    net, again = chain(), chain()
    done = run(config, net, folder=tmp_path)
    cut(monkeypatch, HeadsFirst, 0)
    result = run(config, again, folder=tmp_path, resume=True)
    assert_equal_weights(again, net)
    assert (result.best_epoch, result.val_scores, result.history) == (0, done.val_scores, done.history)


def test_a_run_that_breaks_afterwards_keeps_the_heads(tmp_path, monkeypatch):
    net = chain()
    with pytest.raises(
        TrainingError, match=r"not finite|is nan|is inf.*the weights of epoch 0, the best so far"
    ):
        run(replace(CONFIG, regime="mixed", lr=1e20, epochs=1), net)
    frozen = chain()
    run(replace(CONFIG, regime="frozen"), frozen)
    assert_equal_weights(net, frozen)


def test_a_loss_of_heads_alone_that_is_not_finite_is_told():
    net = chain()
    with pytest.raises(
        TrainingError, match=r"the loss of stage \d is .* where its head learns alone; there is no"
    ):
        run(replace(CONFIG, regime="frozen", head_lr=1e30, head_epochs=30), net)


def test_phases_are_told_and_a_reporter_without_them_will_do(tmp_path):
    told = []

    class Told(Reporter):
        def phase(self, what, steps):
            told.append([what, steps, 0])

        def step(self):
            if told:
                told[-1][2] += 1

    run(replace(CONFIG, regime="frozen"), chain(), reporter=Told(False))
    assert told == [["the backbone reads the images", 18, 18], ["heads learn alone", 8, 8]]

    class Old:
        def note(self, text):
            pass

        start = step = epoch = stop = lambda self, *_: None

    run(replace(CONFIG, regime="mixed"), chain(), reporter=Old())


def test_heads_learn_alike_whatever_the_scale_of_their_features():
    config = replace(CONFIG, head_weight_decay=0.0, head_epochs=5)
    net, scaled = chain(), chain()
    factor = torch.tensor([0.1, 0.3, 1.0, 3.0, 8.0, 10.0])
    with torch.no_grad():  # the same predictions from features of other scales
        scaled.heads[0].head[2].weight /= factor
    one = heads_first(net, config).learn(stored(net))
    source = stored(scaled)
    source.columns[0] *= factor
    other = heads_first(scaled, config).learn(source)
    assert other == pytest.approx(one, abs=1e-4)


def test_heads_learn_from_features_of_16_bits():
    result = run(replace(CONFIG, regime="frozen", precision="bf16", head_epochs=60, head_lr=0.02), chain())
    assert max(result.history[0]["losses"]) < math.log(2)
