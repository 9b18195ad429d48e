"""How a net is trained: one frozen dataclass and its published presets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import Tensor

from anytimenet.core.checks import choice, flag, number, numbers, optional, settle, shown, whole_number, words
from anytimenet.core.records import JsonForm, Record, stored
from anytimenet.schemes import Scheme, scheme_from_dict, scheme_preset, scheme_to_dict


def _scheme_to_json(scheme: str | Scheme) -> Any:
    return scheme if isinstance(scheme, str) else scheme_to_dict(scheme)


def _scheme_from_json(value: Any) -> str | Scheme:
    return scheme_from_dict(value) if isinstance(value, Mapping) else words(value, "it")


@dataclass(frozen=True)
class TrainConfig(Record):
    """Optimiser, schedule, precision and bookkeeping of one run.

    The defaults are the CIFAR settings of the sliced-networks paper, appendix A (methods.md 1.3).

    Args:
        epochs: passes over the training images.
        batch_size: images in a step; None lets `fit` follow the number of images, see
            `training.settling.batch_size_for`. The rate stays what it is.
        lr: peak learning rate of SGD.
        momentum: momentum of SGD.
        nesterov: Nesterov's form of momentum.
        weight_decay: weight decay on every parameter. BatchNorm and biases are included, as in the paper; see
            `decay_norms_and_biases`.
        schedule: "multistep" lowers `lr` at each of `milestones`; "cosine" falls to zero.
        milestones: fractions of the run, for "multistep".
        lr_factors: what multiplies the rate at each of `milestones`; empty for a tenth each time.
        warmup: fraction of the run over which the rate rises from a twenty-fifth of `lr`.
        clip_norm: largest norm of the whole gradient; None for no clipping.
        label_smoothing: share of the target spread over all classes.
        precision: number format of the forward pass: "32" or "bf16" (autocast).
        channels_last: memory layout of convolutions; 1.3 to 1.4 times faster than the default on CPUs.
        device: where to train: "auto", "cpu" or "cuda".
        seed: of the order of images, the augmentation and the initial weights that recipes draw.
        scheme: how the stages learn together: a published scheme by name (`anytimenet list schemes`), or a
            `Scheme` of your own.
        select: what chooses the best checkpoint: validation score of the "last" stage, or the "mean" over the
            stages that learn the fine labels.
        checkpoint_steps: steps between checkpoints inside an epoch; None for the ends of epochs only.
        statistics: BatchNorm statistics of validation and of the trained net: moving averages of training, or
            estimated at the end of each epoch. "running" ones lag behind the weights where steps are few;
            "precise" ones are estimated over `statistics_batches` training batches. "auto" decides
            once, from the steps of the whole run and the net, see `training.settling`. Training itself is the
            same.
        statistics_batches: training batches that statistics are estimated on, at the end of each epoch. They
            are the precise ones, and those of a net which does not track any while it learns.
        devices: processes that share every batch, each on a device of its own (a GPU, or CPU threads).
            `batch_size` is that of all. A launcher such as torchrun decides instead.
        sync_batchnorm: BatchNorm takes its statistics from the batch of all processes; on CUDA only.
        decay_norms_and_biases: whether the parameters of norms and all biases decay, too. False spares them,
            as the authors of slimmable nets, DS-Net and Once-for-All do.
        drop_last: leave out the images of an epoch that make no full batch. False trains on them, too, as the
            code of two of the papers does, in one process; an image that is left alone is left out all the
            same, for BatchNorm needs two.
        regime: which weights learn when. "joint": all together, for `epochs`. "frozen": the heads alone, for
            `head_epochs`; the backbone stays as it is, and `epochs` does not count. "mixed": first as in
            "frozen", then all together, for `epochs`; for a pretrained backbone. See
            `training.regimes`.
        head_epochs: passes over the features that heads learn from, where they learn alone.
        head_lr: peak rate of the heads where they learn alone; it falls to zero along a cosine.
        head_weight_decay: weight decay of the heads where they learn alone.
        head_views: how often each image is read for that: once as validation reads it, then augmented. Fewer
            where there is no augmentation, or the features would not fit into the memory.
        head_lr_factor: what multiplies `lr` for heads where all learn together.
        heads_last: in regime "mixed": whether the heads learn alone once more, in the end, on features of the
            backbone that came out. Each is kept where validation is no worse for it.
        ensemble_epochs: passes over the features that ensembles of heads learn from, after the heads; of nets
            that `zero_time_waste` made.

    Raises:
        TypeError: for a value of another kind, such as text for a number or "no" for False.
        ValueError: for a value out of its range, with the range.

    >>> TrainConfig(epochs=2, batch_size=64).identity["statistics"]
    'auto'
    """

    epochs: int = 300
    batch_size: int | None = None
    lr: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4
    schedule: Literal["multistep", "cosine"] = "multistep"
    milestones: tuple[float, ...] = (0.5, 0.75)
    lr_factors: tuple[float, ...] = ()
    warmup: float = 0.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    precision: Literal["32", "bf16"] = "32"
    channels_last: bool = True
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = 0
    scheme: str | Scheme = field(
        default="anytime", metadata=stored(write=_scheme_to_json, read=_scheme_from_json)
    )
    select: Literal["last", "mean"] = "last"
    checkpoint_steps: int | None = field(default=None)
    statistics: Literal["auto", "running", "precise"] = "auto"
    statistics_batches: int = 32
    devices: int = 1
    sync_batchnorm: bool = False
    decay_norms_and_biases: bool = True
    drop_last: bool = True
    regime: Literal["joint", "frozen", "mixed"] = "joint"
    head_epochs: int = 100
    head_lr: float = 0.003
    head_weight_decay: float = 0.3
    head_views: int = 4
    head_lr_factor: float = 1.0
    heads_last: bool = True
    ensemble_epochs: int = 2
    json_form = JsonForm(strict=True, defaults=True)

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(TrainConfig).items():
            if hint is bool:
                settle(self, name, flag)
            elif get_origin(hint) is Literal:
                settle(self, name, choice, get_args(hint))
        settle(self, "epochs", whole_number, least=1)
        settle(self, "batch_size", optional, whole_number, least=2)  # BatchNorm needs two images
        settle(self, "lr", number, above=0)
        settle(self, "momentum", number, 0, below=1)
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0, and momentum is 0: nesterov=False")
        settle(self, "weight_decay", number, 0)
        settle(self, "milestones", numbers, above=0, below=1)
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must be rising fractions of the run, not {self.milestones}")
        settle(self, "lr_factors", numbers, above=0, below=1)
        if len(self.lr_factors) not in (0, len(self.milestones)):
            raise ValueError(
                f"lr_factors must be empty or one a milestone, not {len(self.lr_factors)} for "
                f"{len(self.milestones)} milestones"
            )
        settle(self, "warmup", number, 0, below=1)
        settle(self, "clip_norm", optional, number, above=0)
        settle(self, "label_smoothing", number, 0, below=1)
        settle(self, "seed", whole_number)
        settle(self, "checkpoint_steps", optional, whole_number, least=1)
        settle(self, "statistics_batches", whole_number, least=1)
        settle(self, "devices", whole_number, least=1)
        settle(self, "head_epochs", whole_number, least=1)
        settle(self, "head_lr", number, above=0)
        settle(self, "head_weight_decay", number, 0)
        settle(self, "head_views", whole_number, least=1)
        settle(self, "head_lr_factor", number, above=0)
        settle(self, "ensemble_epochs", whole_number, least=1)
        if self.regime == "frozen" and self.statistics == "precise":
            raise ValueError(
                "statistics='precise' estimates those of the backbone anew, and regime='frozen' leaves it as "
                "it is: use statistics='auto', or another regime"
            )
        _check_scheme(self.scheme)

    @property
    def identity(self) -> dict[str, Any]:
        """What a resumed run must have in common with the one that it goes on with: all but the processes."""
        values = {k: v for k, v in self.to_dict().items() if k not in ("devices", "sync_batchnorm")}
        for name in _ADDED_LATER:
            if values[name] == getattr(TrainConfig, name):
                del values[name]  # runs that began before there was a choice go on
        return {**values, "scheme": scheme_to_dict(self.chosen_scheme)}

    @property
    def joint_epochs(self) -> int:
        """Epochs in which all weights learn together: `epochs`, or none."""
        return 0 if self.regime == "frozen" else self.epochs

    @property
    def ends_with_heads(self) -> bool:
        """Whether the heads learn alone once more after all epochs."""
        return self.regime == "mixed" and self.heads_last

    @property
    def chosen_scheme(self) -> Scheme:
        """The scheme itself, also where it was given by name."""
        return scheme_preset(self.scheme).scheme if isinstance(self.scheme, str) else self.scheme


@dataclass
class TrainResult:
    """What training leaves behind; the net itself holds the best weights.

    Attributes:
        best_epoch: the epoch, counted from 1, whose weights were chosen; 0 for those
            of heads that have learnt alone.
        val_scores: validation score of each stage with those weights; empty without validation images.
        last_val_scores: the same after the last epoch.
        last_weights: the state_dict after the last epoch.
        history: one record per epoch; before them that of the heads, of epoch 0, if they learnt alone.
    """

    best_epoch: int
    val_scores: list[float]
    last_val_scores: list[float]
    last_weights: dict[str, Tensor]
    history: list[dict[str, Any]] = field(default_factory=list)


def learning_rate(config: TrainConfig, step: int, steps_per_epoch: int) -> float:
    """The rate of step `step`, counted from 0 over the whole run.

    "multistep" changes between epochs, as the papers do; warm-up and "cosine" change with every step.

    >>> config = TrainConfig(epochs=4, lr=1.0, milestones=(0.5, 0.75))
    >>> [round(learning_rate(config, 10 * epoch, 10), 4) for epoch in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """
    total = config.epochs * steps_per_epoch
    warmup = round(config.warmup * total)
    if step < warmup:
        share = step / warmup
        return config.lr * (_WARMUP_START + (1 - _WARMUP_START) * (1 - math.cos(math.pi * share)) / 2)
    if config.schedule == "multistep":
        epoch = step // steps_per_epoch
        passed = sum(epoch >= round(milestone * config.epochs) for milestone in config.milestones)
        factors = config.lr_factors or (0.1,) * len(config.milestones)
        return config.lr * math.prod(factors[:passed])
    share = (step - warmup) / max(1, total - warmup)
    return config.lr * (1 + math.cos(math.pi * share)) / 2


def preset(name: str, *, epochs: int | None = None) -> TrainConfig:
    """A published or proven configuration.

    `paper`: CIFAR in the text of the sliced-networks paper, `paper_imagenet` and `paper_cub` its other data
    sets (appendix A). `official_code`: what the authors' CIFAR commands run (no Nesterov; build the net with
    `init="pytorch"`, too). `msdnet_cifar` and `msdnet_imagenet`: MSDNet's own training, in the form of its
    first code, which has Nesterov; its PyTorch code has not and is `official_code` on CIFAR and
    `official_code_imagenet`. `ann_cifar` and `ann_imagenet`: what the authors of the anytime neural networks
    run (Hu et al.), without Nesterov; on ImageNet their `lr` is 0.1 times the batch over 256. `fast`: a
    warmed-up cosine that trains well in few epochs; it scales with the epochs asked for. `pretrained`: for a
    backbone that comes trained, in the mixed regime (`training.regimes`); the checkpoint is chosen by the
    mean of all stages, so that none of them pays for the last. `zero_time_waste`: what its authors run on
    ImageNet with a ViT-B, for nets that `zero_time_waste` made: 15 epochs of heads, 2 of ensembles.

    Raises:
        ValueError: for an unknown name, with the nearest known one.

    >>> preset("fast", epochs=3).schedule
    'cosine'
    """
    config = _PRESETS[choice(name, "the training preset", _PRESETS)]
    return config if epochs is None else replace(config, epochs=epochs)


_WARMUP_START = 1 / 25
_ADDED_LATER = (
    *("statistics_batches", "decay_norms_and_biases", "drop_last", "regime"),
    *("head_epochs", "head_lr", "head_weight_decay", "head_views", "head_lr_factor", "heads_last"),
    "ensemble_epochs",
)


def _check_scheme(scheme: object) -> None:
    if isinstance(scheme, str):
        scheme_preset(scheme)  # says what else the name is, where it is one
    elif not isinstance(scheme, Scheme):
        raise TypeError(
            f"scheme must be a name or a Scheme, not {shown(scheme)}: for example "
            'scheme="sieve", or scheme=Scheme(weighting=SieveWeights())'
        )
    else:
        try:
            json.dumps(scheme_to_dict(scheme), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the fields of a scheme's hooks must be numbers, words, lists or functions, for a bundle "
                f"remembers them ({error}): make what it needs in build"
            ) from error


# Published numbers are those of running statistics, and no preset leaves anything to the data.
_PINNED = TrainConfig(batch_size=64, statistics="running")
_PRESETS = {
    "paper": _PINNED,
    "paper_imagenet": replace(_PINNED, epochs=90, batch_size=96, milestones=(1 / 3, 2 / 3)),
    "paper_cub": replace(_PINNED, epochs=150),
    "official_code": replace(_PINNED, nesterov=False),
    "official_code_imagenet": replace(
        _PINNED, epochs=90, batch_size=256, milestones=(1 / 3, 2 / 3), nesterov=False
    ),
    "msdnet_cifar": _PINNED,
    "msdnet_imagenet": replace(_PINNED, epochs=90, batch_size=256, milestones=(1 / 3, 2 / 3)),
    "ann_cifar": replace(
        _PINNED,
        batch_size=128,
        nesterov=False,
        weight_decay=2e-4,
        milestones=(140 / 300, 210 / 300, 250 / 300),
        lr_factors=(0.1, 0.1, 0.2),
    ),
    "ann_imagenet": replace(
        _PINNED,
        epochs=128,
        batch_size=256,
        nesterov=False,
        milestones=(30 / 128, 60 / 128, 90 / 128, 105 / 128),
    ),
    "pretrained": replace(
        _PINNED,
        epochs=15,
        batch_size=32,
        lr=0.01,
        schedule="cosine",
        warmup=0.1,
        label_smoothing=0.1,
        select="mean",
        statistics="auto",
        regime="mixed",
    ),
    "zero_time_waste": replace(
        _PINNED, regime="frozen", head_epochs=15, head_lr=5e-3, head_weight_decay=1e-4, ensemble_epochs=2
    ),
    "fast": replace(_PINNED, epochs=10, lr=0.2, weight_decay=5e-4, schedule="cosine", warmup=0.25),
}
