"""Experiments of the block-dependent losses: MSDNet on CIFAR-100 and ImageNet.

Han et al., "Improving Low-Latency Predictions in Multi-Exit Neural Networks via Block-Dependent Losses"
(TNNLS 2023). Settings of the authors' code (methods.md 8.1 to 8.3): MSDNet as its PyTorch code trains it,
without Nesterov and with the initial weights of PyTorch's layers. Ordinary training of the same net is
`--scheme anytime`; other forms are `--scheme-args` away, such as `gradients.window=2`.

Deviations: on CIFAR, where all training images train, the last epoch is kept; there the test images choose
the best one. BatchNorm's running statistics move once a step; their code runs a block two or three times,
with equal gradients. Their errors are in no source at hand: what is expected is the claim. Minutes are
estimates.
"""

from __future__ import annotations

from dataclasses import replace

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, Recipe
from anytimenet.schemes import BlockDependent, Scheme, override, scheme_preset
from anytimenet.training import preset

_CLAIM = "less error at the first exits than with --scheme anytime, no more at the last (no numbers at hand)"


def _cifar100(
    name: str, scheme: str | Scheme, minutes: float, summary: str, expected: str = _CLAIM
) -> Recipe:
    experiment = Experiment(
        "cifar100",
        "msdnet_cifar_7",
        {"init": "pytorch"},
        options=DataOptions(val_fraction=0.0),
        config=replace(preset("official_code"), scheme=scheme),
    )
    return Recipe.of(name, experiment, summary=summary, minutes=minutes, expected=expected)


def _imagenet(name: str, scheme: str | Scheme, minutes: float, summary: str) -> Recipe:
    """50,000 training images are held out."""
    experiment = Experiment(
        "",
        "msdnet_imagenet_step4",
        {"init": "pytorch"},
        config=replace(preset("official_code_imagenet"), scheme=scheme),
        augmentation=LargeImageAugmentation(),
    )
    return Recipe.of(name, experiment, summary=summary, minutes=minutes, expected=_CLAIM)


RECIPES = (
    _cifar100(
        "block_dependent_cifar100",
        "block_dependent",
        400,
        "block-dependent losses, Q = 3: MSDNet with 7 exits on CIFAR-100, 300 epochs",
    ),
    _cifar100(
        "block_dependent_cifar100_final",
        "block_dependent_final",
        450,
        "block-dependent losses, Q = 3, on CIFAR-100; the last loss reaches every block, too",
    ),
    # No loss trains the blocks of an earlier group.
    _cifar100(
        "block_dependent_cifar100_grouped",
        "grouped",
        250,
        "block-dependent losses in groups {1,2,3} {4,5,6,7}: MSDNet with 7 exits on CIFAR-100",
    ),
    # Q = 1, `local_error` in their code.
    _cifar100(
        "block_dependent_cifar100_local",
        "local",
        250,
        "each block learns from its own exit only: MSDNet with 7 exits on CIFAR-100",
        "local training, beside which the paper's rules stand (no numbers at hand)",
    ),
    # With the weight 0.25 that their script gives beside Q = 3, at temperature 1.5.
    _cifar100(
        "block_dependent_cifar100_distilled",
        override(scheme_preset("block_dependent_distilled").scheme, {"targets.mixing": 0.25}),
        400,
        "block-dependent losses, Q = 3, on CIFAR-100, and distillation from the last exit",
        "the two combine, as only the losses change (no numbers at hand)",
    ),
    _imagenet(
        "block_dependent_imagenet",
        Scheme(gradients=BlockDependent(window=2)),
        5000,
        "block-dependent losses, Q = 2: MSDNet with 5 exits on ImageNet, 90 epochs",
    ),
    _imagenet(
        "block_dependent_imagenet_grouped",
        "grouped",
        4000,
        "block-dependent losses in groups {1,2,3} {4,5}: MSDNet with 5 exits on ImageNet",
    ),
)
