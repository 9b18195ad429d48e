"""What two processes do together in the tests of this folder, and the reference in one process.

A scenario is called with its rank and returns a JSON value. Everything is in float64 on generated images,
so that two ways to the same weights agree far below any step.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from anytimenet.core.images.preprocessing import Preprocessing
from anytimenet.data import Augmentation, ImageSet, Loader, Shard
from anytimenet.nets import AnytimeNet, create_net
from anytimenet.schemes import RunFacts, Scheme
from anytimenet.schemes.gradients.conflict import ConflictProjection
from anytimenet.schemes.gradients.orthogonal import OrthogonalGradients
from anytimenet.schemes.hooks import GradientRule
from anytimenet.tasks import Classification
from anytimenet.training import TrainConfig, launch, train
from anytimenet.training.checkpoints import Checkpoint, restore
from anytimenet.training.config import learning_rate
from anytimenet.training.gradient_sync import GradientSync, unreached_parameters
from anytimenet.training.processes import Processes
from anytimenet.training.run import Run
from anytimenet.training.statistics import reestimate_statistics

PREPROCESSING = Preprocessing(8, 8, 1, mean=(0.5,), std=(0.25,))
CONFIG = TrainConfig(
    epochs=2,
    batch_size=8,
    lr=0.05,
    schedule="cosine",
    clip_norm=1.0,
    weight_decay=0.01,
    device="cpu",
    statistics="running",
)


def images(count: int, seed: int = 0) -> ImageSet:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return ImageSet(pixels, rng.integers(0, 3, (count, 1)), tuple(map(str, range(count))))


@dataclass
class Float64:
    """Batches with images in float64; may spoil one batch, or stop for good before another."""

    loader: Loader
    spoilt: int | None = None
    stop: int | None = None
    seen: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, number: int, start: int = 0) -> Iterator[Any]:
        for batch, (x, labels) in enumerate(self.loader.epoch(number, start), start):
            step = number * len(self) + batch
            if step == self.stop:
                raise PowerCutError
            self.seen.append(step)
            yield x.double() * (float("nan") if step == self.spoilt else 1.0), labels


class PowerCutError(Exception):
    """Stands for a power cut."""


class Float64Classification(Classification):
    """Classification whose loss keeps the float64 of its logits."""

    def loss(self, output: tuple[torch.Tensor, ...], labels: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return F.cross_entropy(output[0], labels[0])


def training(shard: Shard, **options: Any) -> Float64:
    flip = Augmentation(flip=True)
    loader = Loader(
        images(24), PREPROCESSING, batch_size=8, augment=flip, shuffle=True, drop_last=True, shard=shard
    )
    return Float64(loader, **options)


def net_of(name: str, seed: int = 0) -> AnytimeNet:
    torch.manual_seed(seed)
    if name == "five exits":
        exits = (1, 2, 3, 4, 5)
        return create_net(
            "resnext_exits_tiny", 3, in_channels=1, exits_after=exits, blocks=(2, 2, 1)
        ).double()
    if name == "with a parameter that nothing uses":
        net = create_net("resnet_tiny", 3, in_channels=1).double()
        net.idle = nn.Parameter(torch.ones(2, dtype=torch.float64))
        return net
    return create_net(name, 3, in_channels=1).double()


def train_here(net: AnytimeNet, shard: Shard, config: TrainConfig = CONFIG, **options: Any) -> Any:
    """A run of this process's share; `stop` and `spoilt` are steps, the rest goes to `train`."""
    chosen = {key: options.pop(key) for key in ("stop", "spoilt") if key in options}
    return train(net, training(shard, **chosen), None, Float64Classification((3,)), config, **options)


def reference(net: AnytimeNet, parts: int, config: TrainConfig = CONFIG, start: Path | None = None) -> None:
    """Trains `net` in one process: each batch in `parts` parts, the mean gradient, statistics per part."""
    copies = [copy.deepcopy(net).to(memory_format=torch.channels_last).train() for _ in range(parts)]  # type: ignore[call-overload]
    optimisers = [
        torch.optim.SGD(one.parameters(), lr=1.0, momentum=config.momentum, nesterov=True,
                        weight_decay=config.weight_decay) for one in copies
    ]  # fmt: skip
    schemes = [config.chosen_scheme.build(one, RunFacts(config.seed)) for one in copies]
    observe = [scheme.weighting.observe for scheme in schemes]
    batches = [training(Shard(part, parts)) for part in range(parts)]
    epoch = batch = 0
    if start is not None:
        checkpoint = Checkpoint.load(start)
        epoch, batch = checkpoint.epoch, checkpoint.batch
        for one, optimiser, scheme in zip(copies, optimisers, schemes, strict=True):
            restore(checkpoint, one, optimiser, scheme)
    for number in range(epoch, config.epochs):
        first = batch if number == epoch else 0
        for place, shares in enumerate(zip(*(b.epoch(number, first) for b in batches), strict=True), first):
            seen: list[dict[int, torch.Tensor]] = []
            for one, scheme, (x, labels) in zip(copies, schemes, shares, strict=True):
                one.zero_grad()
                scheme.weighting.observe = seen.append  # type: ignore[assignment, method-assign]
                scheme.step(one, x, labels, Float64Classification((3,)).loss)
            for note in observe:
                note({stage: torch.stack([part[stage] for part in seen]).mean() for stage in seen[0]})
            for same in zip(*(one.parameters() for one in copies), strict=True):
                given = [p.grad for p in same if p.grad is not None]
                for p in same:
                    p.grad = torch.stack(given).mean(dim=0) if given else None
            for one, optimiser in zip(copies, optimisers, strict=True):
                nn.utils.clip_grad_norm_(one.parameters(), config.clip_norm)  # type: ignore[arg-type]
                optimiser.param_groups[0]["lr"] = learning_rate(config, number * len(batches[0]) + place, 3)
                optimiser.step()
        for one, share in zip(copies, batches, strict=True):
            if one.stages_without_statistics():
                reestimate_statistics(one, share, num_batches=config.statistics_batches)
                one.train()
        # As at the end of an epoch: a teacher in the scheme follows the net's statistics.
        modules = (nn.ModuleList(pair) for pair in zip(copies, schemes, strict=True))
        for same in zip(*(pair.buffers() for pair in modules), strict=True):
            if same[0].is_floating_point():
                mean = torch.stack(same).mean(dim=0)
                for buffer in same:
                    buffer.copy_(mean)
    for name, tensor in net.state_dict().items():
        tensor.copy_(torch.stack([one.state_dict()[name].double() for one in copies]).mean(dim=0))


def largest_difference(one: AnytimeNet, other: AnytimeNet) -> float:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    number: float = max((a.double() - b.double()).abs().max().item() for a, b in pairs)
    return number


def weights_of(net: AnytimeNet) -> list[float]:
    """Every number of the net, to be compared between processes bit for bit."""
    return torch.cat([tensor.double().flatten() for tensor in net.state_dict().values()]).tolist()


# --- scenarios ------------------------------------------------------------------------------------------


def halves(rank: int, name: str, scheme: str = "anytime") -> dict[str, Any]:
    config = replace(CONFIG, scheme=scheme)
    net, expected = net_of(name, seed=rank), net_of(name)  # other weights in the second process: not for long
    result = train_here(net, Shard(rank, 2), config)
    reference(expected, 2, config)
    # The run keeps its last weights: without validation the last epoch is the best.
    return {
        "difference": largest_difference(net, expected),
        "moved": largest_difference(net, net_of(name)),
        "losses": [record["losses"] for record in result.history],
        "weights": weights_of(net),
    }


def regimes(rank: int, regime: str) -> dict[str, Any]:
    """A net whose heads learn alone first; the processes start from other weights."""
    config = replace(CONFIG, regime=regime, head_epochs=2, head_views=2)  # type: ignore[arg-type]
    net, before = net_of("five exits", seed=rank), net_of("five exits")
    result = train_here(net, Shard(rank, 2), config, views=training(Shard()))
    backbone = {name: t for name, t in net.state_dict().items() if not name.startswith("heads.")}
    return {
        "weights": weights_of(net),
        "epochs": [record["epoch"] for record in result.history],
        "backbone moved": any(not torch.equal(t, before.state_dict()[name]) for name, t in backbone.items()),
        "moved": largest_difference(net, before),
    }


def is_wrapped(rank: int, name: str) -> bool:
    net, fabric = net_of(name), launch(CONFIG)
    run = Run(
        net, training(Shard(rank, 2)), None, Float64Classification((3,)), CONFIG, None, {}, fabric, RunFacts()
    )
    run.train_epoch(_Silent())  # type: ignore[arg-type]
    return run.step.sync.is_wrapped


class _Silent:
    def step(self) -> None:
        pass


def probing_changes_nothing(rank: int, name: str) -> bool:
    net = net_of(name).train()
    before, generator = weights_of(net), torch.get_rng_state()
    unreached = unreached_parameters(net, next(training(Shard(rank, 2)).epoch(0))[0])
    return weights_of(net) == before and torch.equal(torch.get_rng_state(), generator) and unreached == []


def stopped_and_resumed(rank: int, name: str, folder: str, stop: int) -> bool:
    """Whether a run of two that is cut off and resumed by two ends in the weights of an uninterrupted one."""
    config = replace(CONFIG, checkpoint_steps=2)
    whole, cut, resumed = net_of(name), net_of(name), net_of(name, seed=1)
    train_here(whole, Shard(rank, 2), config)
    cut_off(rank, name, folder, stop, cut)
    torch.manual_seed(123 + rank)  # a new process has another generator state by now
    train_here(resumed, Shard(rank, 2), config, folder=Path(folder), resume=True)
    return weights_of(resumed) == weights_of(whole)


def cut_off(
    rank: int, name: str, folder: str, stop: int, net: AnytimeNet | None = None, count: int = 2
) -> None:
    """A run that stops before step `stop`, with checkpoints in between."""
    config = replace(CONFIG, checkpoint_steps=2)
    try:
        train_here(net or net_of(name), Shard(rank, count), config, folder=Path(folder), stop=stop)
    except PowerCutError:
        Processes(rank, count).wait()  # until the first process has written
        return
    raise AssertionError("the run was not cut off")


def resumed_by_two(rank: int, name: str, folder: str, checkpoint: str) -> dict[str, Any]:
    net, expected = net_of(name, seed=1), net_of(name)
    config = replace(CONFIG, checkpoint_steps=2)
    result = train_here(net, Shard(rank, 2), config, folder=Path(folder), resume=True)
    reference(expected, 2, start=Path(checkpoint))
    return {"difference": largest_difference(net, expected), "epochs": [r["epoch"] for r in result.history]}


def validation(rank: int, count: int) -> dict[str, list[float]]:
    """Scores of two processes, and of one that sees all images, with the same weights."""
    net = create_net("resnet_tiny", 3, in_channels=1)
    whole = Loader(images(count, seed=1), PREPROCESSING, batch_size=5)
    part = Loader(images(count, seed=1), PREPROCESSING, batch_size=5, shard=Shard(rank, 2))
    batches = Loader(images(8), PREPROCESSING, batch_size=8, drop_last=True, shard=Shard(rank, 2))
    result = train(net, batches, part, Classification((3,)), replace(CONFIG, epochs=1))
    meter = Classification((3,)).meter()
    for x, labels in whole.epoch(0):
        for stage, output in enumerate(net(x), 1):
            meter.update(stage, output, labels)
    return {"two": result.val_scores, "one": list(meter.scores().values())}


def precise(rank: int) -> list[float]:
    """The weights and statistics of a run of two that is judged with precise statistics."""
    net = net_of("isresnext_tiny")
    train_here(net, Shard(rank, 2), replace(CONFIG, epochs=1, statistics="precise"))
    return weights_of(net)


def not_a_number(rank: int, name: str) -> None:
    """The second process meets a batch of NaN in the fifth step."""
    train_here(net_of(name), Shard(rank, 2), spoilt=4 if rank == 1 else None)


def shares(rank: int, folder: str) -> list[list[int]]:
    """The images that this process trained on in each step of `api.fit`, by their first pixel."""
    from anytimenet.data import DataOptions, splits_from_datasets
    from anytimenet.workflows import fit

    pixels = np.broadcast_to(np.arange(40, dtype=np.uint8)[:, None, None, None], (40, 8, 8, 1)).copy()
    seen: list[list[int]] = []

    def note(module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        if module.training:
            x = arguments[0][:, 0, 0, 0] * splits.preprocessing.std[0] + splits.preprocessing.mean[0]
            seen.append((x * 255).round().int().tolist())

    data = [(image, place % 3) for place, image in enumerate(pixels)]
    splits = splits_from_datasets(data, data[:9], options=DataOptions(test_fraction=0))
    net = create_net("iresnext_tiny", 3, in_channels=1)
    net.stem.register_forward_pre_hook(note)  # type: ignore[union-attr]
    fit(net, splits, config=replace(CONFIG, epochs=2), out=folder)
    return seen


def gradients_of_some(rank: int) -> list[list[float] | None]:
    """Nobody's gradient, one of the second process alone, one of both."""
    parameters = [nn.Parameter(torch.zeros(2)) for _ in range(3)]
    if rank == 1:
        parameters[1].grad = torch.tensor([2.0, 4.0])
    parameters[2].grad = torch.tensor([1.0, 3.0]) * (rank + 1)
    Processes(rank, 2).average_gradients(parameters)
    return [None if p.grad is None else p.grad.tolist() for p in parameters]


def buffers(rank: int) -> list[list[float]]:
    norm = nn.BatchNorm1d(2)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]) * (rank + 1))
    norm.num_batches_tracked.fill_(7 + rank)
    Processes(rank, 2).average_buffers(norm)
    return [norm.running_mean.tolist(), [norm.num_batches_tracked.item()]]


class SignRule(GradientRule):
    """A rule that is not linear: the sign of the gradient, each stage by itself, summed."""

    linear = False

    def forward(self, net: AnytimeNet, x: torch.Tensor, stages: Any, loss: Any) -> None:
        parameters = list(net.parameters())
        losses = loss(list(zip(stages, net(x, stages), strict=True)))
        total = [torch.zeros_like(p) for p in parameters]
        for one in losses:
            found = torch.autograd.grad(one, parameters, retain_graph=True, materialize_grads=True)
            self.average(found)
            total = [t + g.sign() for t, g in zip(total, found, strict=True)]
        for p, t in zip(parameters, total, strict=True):
            p.grad = t


def rule_that_is_not_linear(rank: int) -> list[float]:
    net = net_of("resnet_tiny")
    scheme = Scheme().build(net)
    scheme.gradients = SignRule()
    sync = GradientSync(net, scheme, Processes(rank, 2), lambda module: module)
    x, labels = next(training(Shard(rank, 2)).epoch(0))
    with sync.step(x) as called:
        scheme.step(called, x, labels, Float64Classification((3,)).loss)
    found = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    return found.tolist()


def projected_step(rank: int, order: str) -> list[float]:
    """The gradients of two processes after one step of OSGD, or of projection on conflict in some order."""
    return projected_half(rank, order, Processes(rank, 2).average)


def projected_half(part: int, order: Any, average: Any = None) -> list[float]:
    """The same for one half of the batch, with another mean of the stages' gradients, or none."""
    net = net_of("msdnet_tiny")
    rule = OrthogonalGradients() if order == "orthogonal" else ConflictProjection(order=order)
    scheme = Scheme(gradients=rule).build(net)
    x, labels = next(training(Shard(part, 2)).epoch(0))
    if average:
        scheme.gradients.average = average
    scheme.step(net, x, labels, Float64Classification((3,)).loss)
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]).tolist()
