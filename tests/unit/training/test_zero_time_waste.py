"""Zero Time Waste in training: heads, then ensembles, on a backbone that stays bit for bit as it is."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tests.unit.training.test_training import loaders

from anytimenet.layers.heads.cascade import ArithmeticEnsemble, CascadeHead, Ensemble, GeometricEnsemble
from anytimenet.nets import ChainNet, create_net, zero_time_waste
from anytimenet.nets.wrapped.zero_time_waste import Ensembles
from anytimenet.schemes import Distillation, RunFacts, Scheme
from anytimenet.tasks import Classification
from anytimenet.training import TrainConfig, preset, train
from anytimenet.training.cascade_first import CascadeFirst
from anytimenet.training.features import Examples

CONFIG = TrainConfig(
    epochs=1,
    batch_size=16,
    device="cpu",
    statistics="running",
    regime="frozen",
    head_epochs=20,
    head_lr=5e-3,
    head_weight_decay=1e-4,
    head_views=1,
    ensemble_epochs=4,
)


def net_of(ensembles: Ensembles = "geometric", *, keep_last: bool = True, head: str = "linear") -> ChainNet:
    torch.manual_seed(0)
    plain = create_net("resnext_exits_tiny", 2, in_channels=1)
    assert isinstance(plain, ChainNet)
    made = zero_time_waste(plain, head, ensembles=ensembles, keep_last=keep_last)
    for buffer in made.buffers():  # statistics that no training here would give
        if buffer.is_floating_point():
            buffer.add_(0.1)
    return made


def run(net: ChainNet, config: TrainConfig = CONFIG):
    torch.manual_seed(5)
    batches, val = loaders()
    return train(net, batches, val, Classification((2,)), config)


def learnt(net: ChainNet, before: dict[str, torch.Tensor]) -> set[str]:
    """Names of what is no longer what it was."""
    return {name for name, tensor in net.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("keep_last", [True, False])
def test_heads_and_ensembles_learn_and_nothing_else_moves(keep_last):
    net = net_of(keep_last=keep_last)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    own = {name: name for name in before if name.startswith("heads.")}
    batches, _ = loaders()
    x = next(iter(batches.epoch(0)))[0]
    with torch.no_grad():
        answer = net.eval()(x)[-1][0]
    result = run(net)
    moved = learnt(net, before)
    kinds = {
        name: type(m).__name__ for name, m in net.named_modules() if isinstance(m, CascadeHead | Ensemble)
    }
    of_added = {name for name in before if any(name.startswith(f"{kind}.") for kind in kinds)}
    learnt_own = set() if keep_last else {name for name in own if "num_batches" not in name}
    assert of_added <= moved
    assert moved - of_added <= set(own)
    assert bool(moved - of_added) == bool(learnt_own)
    with torch.no_grad():
        assert torch.equal(net.eval()(x)[-1][0], answer) == keep_last
    assert len(result.val_scores) == 3
    assert [record["epoch"] for record in result.history] == [0]


@pytest.mark.parametrize("ensembles", ["none", "geometric", "arithmetic"])
def test_every_stage_learns_the_toy(ensembles):
    torch.manual_seed(0)
    plain = create_net("resnext_exits_tiny", 2, in_channels=1)
    batches, val = loaders()
    train(plain, batches, val, Classification((2,)), replace(CONFIG, regime="joint", epochs=4, lr=0.05))
    torch.manual_seed(1)
    result = run(zero_time_waste(plain, "conv", ensembles=ensembles))
    assert min(result.val_scores) > 0.9


@pytest.mark.parametrize("kind", [GeometricEnsemble, ArithmeticEnsemble])
def test_an_ensemble_of_noisy_heads_is_better_than_the_best_of_them(kind):
    """Heads that see the class beside noise of their own, the first one mostly noise."""
    torch.manual_seed(0)
    labels = torch.randint(0, 5, (4000,))
    logits = [share * F.one_hot(labels, 5) + torch.randn(4000, 5) for share in (0.3, 1.5, 1.5)]
    ensemble = kind(3, (5,))
    adam = torch.optim.Adam(ensemble.parameters(), lr=0.02)
    for _ in range(300):
        adam.zero_grad()
        F.cross_entropy(ensemble(*(z[:2000] for z in logits)), labels[:2000]).backward()
        adam.step()
    held_out = slice(2000, None)
    with torch.no_grad():
        together = ensemble(*(z[held_out] for z in logits))
    right = [(z[held_out].argmax(1) == labels[held_out]).float().mean() for z in logits]
    assert (together.argmax(1) == labels[held_out]).float().mean() > max(right) + 0.05
    assert F.cross_entropy(together, labels[held_out]) < min(
        F.cross_entropy(z[held_out], labels[held_out]) for z in logits
    )
    weights = ensemble.log_weights[0].exp().tolist()
    assert weights[0] < min(weights[1:])


def test_the_loss_of_the_heads_is_the_mean_over_all_outputs_and_reaches_no_earlier_head():
    net = net_of("none")
    first = teacher_of(net)
    features = reader_examples(net, first)
    first._alone.train()
    first._step_of_heads(features)
    outputs = first._alone(features.features)
    grads = [head.levels[0].bias.grad for head in first._alone.heads if isinstance(head, CascadeHead)]
    for stage, ((logits,), grad) in enumerate(zip(outputs, grads, strict=False)):
        alone = F.cross_entropy(logits, features.labels[0]) / 3
        bias = first._alone.heads[stage].levels[0].bias
        torch.testing.assert_close(grad, torch.autograd.grad(alone, bias)[0])
    assert all(p.grad is None for p in net.heads[-1].parameters())


@pytest.mark.parametrize("teacher", ["last", "next", "later"])
def test_distillation_adds_the_mean_cross_entropy_against_later_answers(teacher):
    net = net_of("none")
    weight = 0.5
    scheme = Scheme(targets=Distillation(teacher, mixing=weight, label_weight=1.0))
    first = teacher_of(net, replace(CONFIG, scheme=scheme))
    features = reader_examples(net, first)
    found = first._step_of_heads(features)
    with torch.no_grad():
        z = [logits for (logits,) in first._alone(features.features)]
    later = {"last": [[2], [2], []], "next": [[1], [2], []], "later": [[1, 2], [2], []]}[teacher]
    for stage, teachers in enumerate(later):
        wanted = F.cross_entropy(z[stage], features.labels[0])
        for other in teachers:
            p = z[other].softmax(1)
            cross_entropy = -(p * z[stage].log_softmax(1)).sum(1).mean()
            entropy = -(p * p.log()).sum(1).mean()  # of the teacher: a constant
            wanted = wanted + weight * (cross_entropy - entropy) / len(teachers)
        torch.testing.assert_close(found[stage], wanted)


def teacher_of(net: ChainNet, config: TrainConfig = CONFIG) -> CascadeFirst:
    return CascadeFirst(net, Classification((2,)), config, RunFacts(0), nullcontext)


def reader_examples(net: ChainNet, first: CascadeFirst) -> Examples:
    batches, _ = loaders()
    x, labels = next(iter(batches.epoch(0)))
    return first.reader()(x, labels)


def test_what_the_heads_answer_from_stored_features_is_what_the_net_answers():
    net = net_of(head="conv").eval()
    first = teacher_of(net)
    batches, _ = loaders()
    x, labels = next(iter(batches.epoch(0)))
    with torch.no_grad():
        examples = first.reader()(x, labels)
        answers = first._alone.answers(examples.features)
        found = first._alone.together(answers)
        outputs = net(x)
        own = first._alone(examples.features)[-1]
        kept = net.keep((2,)).eval()
        again = teacher_of(kept)
        other = again._alone.together(again._alone.answers(again.reader()(x, labels).features))
    for one, wanted in zip([*found, own, *other], [*outputs, outputs[1]], strict=True):
        torch.testing.assert_close(one[0], wanted[0])


def test_a_run_is_a_function_of_its_seed():
    weights = []
    for _ in range(2):
        net = net_of()
        run(net, replace(CONFIG, head_epochs=2, ensemble_epochs=1))
        weights.append(net.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_preset_is_what_was_published():
    config = preset("zero_time_waste")
    assert (config.regime, config.head_epochs, config.ensemble_epochs) == ("frozen", 15, 2)
    assert (config.head_lr, config.head_weight_decay, CascadeFirst.batch) == (5e-3, 1e-4, 64)


@pytest.mark.parametrize("worse", [False, True])
def test_a_mixed_run_ends_with_all_heads_of_the_cascade_or_with_none(worse, monkeypatch):
    net = net_of(keep_last=False)
    config = replace(CONFIG, regime="mixed", epochs=3, head_epochs=2, ensemble_epochs=1, lr=0.05)
    learn, rounds = CascadeFirst.learn, []

    def spoilt(self, source, progress):
        losses = learn(self, source, progress)
        rounds.append(1)
        if worse and len(rounds) == 2:
            with torch.no_grad():
                self._alone.ensembles[0].log_weights.fill_(-20.0)
                self._alone.ensembles[0].bias[0] = 9.0  # always the first class
        return losses

    monkeypatch.setattr(CascadeFirst, "learn", spoilt)
    result = run(net, config)
    assert len(rounds) == 2
    kept, scores = result.history[-1]["kept"], result.history[-1]["val"]
    if worse:
        best = max(result.history[:-1], key=lambda record: record["val"][-1])
        assert (kept, scores) == ([False] * 3, best["val"])
    assert kept in ([False] * 3, [True] * 3)
    first = next(module for module in net.modules() if isinstance(module, Ensemble))
    assert not (first.log_weights == -20.0).any()
