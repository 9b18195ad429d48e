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
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.schemes import BlockDependent, Scheme, override, scheme_preset
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"
_LARGE = "four GPUs with --devices 4, or one large one"
_CLAIM = "less error at the first exits than with --scheme anytime, no more at the last (no numbers at hand)"


@register_recipe(
    summary="block-dependent losses, Q = 3: MSDNet with 7 exits on CIFAR-100, 300 epochs",
    command="anytimenet train block_dependent_cifar100 --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected=_CLAIM,
)
def block_dependent_cifar100() -> Experiment:
    """Overlapping windows of Q = 3."""
    return _cifar100("block_dependent")


@register_recipe(
    summary="block-dependent losses, Q = 3, on CIFAR-100; the last loss reaches every block, too",
    command="anytimenet train block_dependent_cifar100_final --data-root data",
    hardware=_HARDWARE,
    minutes=450,
    expected=_CLAIM,
)
def block_dependent_cifar100_final() -> Experiment:
    """Overlapping windows of Q = 3 with the final loss."""
    return _cifar100("block_dependent_final")


@register_recipe(
    summary="block-dependent losses in groups {1,2,3} {4,5,6,7}: MSDNet with 7 exits on CIFAR-100",
    command="anytimenet train block_dependent_cifar100_grouped --data-root data",
    hardware=_HARDWARE,
    minutes=250,
    expected=_CLAIM,
)
def block_dependent_cifar100_grouped() -> Experiment:
    """No loss trains the blocks of an earlier group."""
    return _cifar100("grouped")


@register_recipe(
    summary="each block learns from its own exit only: MSDNet with 7 exits on CIFAR-100",
    command="anytimenet train block_dependent_cifar100_local --data-root data",
    hardware=_HARDWARE,
    minutes=250,
    expected="local training, beside which the paper's rules stand (no numbers at hand)",
)
def block_dependent_cifar100_local() -> Experiment:
    """Q = 1, `local_error` in their code."""
    return _cifar100("local")


@register_recipe(
    summary="block-dependent losses, Q = 3, on CIFAR-100, and distillation from the last exit",
    command="anytimenet train block_dependent_cifar100_distilled --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected="the two combine, as only the losses change (no numbers at hand)",
)
def block_dependent_cifar100_distilled() -> Experiment:
    """Distillation with the weight 0.25 that their script gives beside Q = 3, at temperature 1.5."""
    distilled = scheme_preset("block_dependent_distilled").scheme
    return _cifar100(override(distilled, {"targets.mixing": 0.25}))


@register_recipe(
    summary="block-dependent losses, Q = 2: MSDNet with 5 exits on ImageNet, 90 epochs",
    command="anytimenet train block_dependent_imagenet --data imagenet:PATH",
    hardware=_LARGE,
    minutes=5000,
    expected=_CLAIM,
)
def block_dependent_imagenet() -> Experiment:
    """Overlapping windows of Q = 2; 50,000 training images held out."""
    return _imagenet(Scheme(gradients=BlockDependent(window=2)))


@register_recipe(
    summary="block-dependent losses in groups {1,2,3} {4,5}: MSDNet with 5 exits on ImageNet",
    command="anytimenet train block_dependent_imagenet_grouped --data imagenet:PATH",
    hardware=_LARGE,
    minutes=4000,
    expected=_CLAIM,
)
def block_dependent_imagenet_grouped() -> Experiment:
    """No loss trains the blocks of an earlier group; 50,000 training images held out."""
    return _imagenet("grouped")


def _cifar100(scheme: str | Scheme) -> Experiment:
    return Experiment(
        data="cifar100",
        net="msdnet_cifar_7",
        net_arguments={"init": "pytorch"},
        options=DataOptions(val_fraction=0.0),
        config=replace(preset("official_code"), scheme=scheme),
    )


def _imagenet(scheme: str | Scheme) -> Experiment:
    return Experiment(
        data="",
        net="msdnet_imagenet_step4",
        net_arguments={"init": "pytorch"},
        config=replace(preset("official_code_imagenet"), scheme=scheme),
        augmentation=LargeImageAugmentation(),
    )
