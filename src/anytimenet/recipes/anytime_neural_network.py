"""Experiments of "Learning Anytime Predictions in Neural Networks via Adaptive Loss Balancing" (Hu et al.).

Each recipe has SIEVE, the weights of the workshop paper; the other weights are one flag away:

- CONST: `--scheme anytime`; LINEAR: `--scheme linear`; HALF-END: `--scheme half_end`.
- OPT, a net of its own for each depth: `--alone`.
- SIEVE as the authors released it: `--scheme sieve_from_end`, `--scheme sieve_v2`.
- AANN, the default of their code: `--scheme sieve_alternating --scheme-args weighting.base.version=from_end`;
  on another base `weighting.extra=half`, too.
- EXP-LIN, a name that is inferred: `--scheme exp_lin`.
- AdaLoss: `--scheme adaloss`. Their CIFAR scripts add `--scheme-args weighting.final_extra=1`, with
  `weighting.renormalise=true` for the commit that they released, and their MSDNets update in every step,
  `--scheme-args weighting.every=1`.

Settings: arXiv 1708.06832 and the authors' code (methods.md 7.1). All training images train and the last
epoch is kept, as there. Deviations: images are standardised by channel, where theirs of CIFAR lose the mean
of each pixel and are divided by 128; weight decay is one number for all parameters, where theirs leaves out
BatchNorm (`--decay-norms-and-biases no`) and counts a predictor's weights in proportion to its beta_i. (Their
weight decay also falls after 480,000 steps; 300 epochs of CIFAR have fewer.) The paper's errors are in no
source at hand: what is expected are its claims. Minutes are estimates.
"""

from __future__ import annotations

from dataclasses import replace

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset

_HARDWARE = "one GPU; days on 2 CPU cores"
_LARGE = "four GPUs with --devices 4, or one large one"


@register_recipe(
    summary="ResANN-45 with SIEVE on CIFAR-100: 21 predictors, n=7 c=32, 300 epochs",
    command="anytimenet train ann_resnet_45 --data-root data",
    hardware=_HARDWARE,
    minutes=200,
    expected="claimed: the final error of CONST weights at twice the depth, early errors alike",
)
def ann_resnet_45() -> Experiment:
    """The smallest of the three nets; `--data cifar10` for the other data."""
    return _cifar("resnet_ann_45")


@register_recipe(
    summary="ResANN-81 with SIEVE on CIFAR-100: 39 predictors, n=13 c=32, 300 epochs",
    command="anytimenet train ann_resnet_81 --data-root data",
    hardware=_HARDWARE,
    minutes=400,
    expected="claimed: with --scheme anytime (CONST) about the final error of ann_resnet_45",
)
def ann_resnet_81() -> Experiment:
    """The middle one, 1.88 times the multiply-adds of the smallest."""
    return _cifar("resnet_ann_81")


@register_recipe(
    summary="ResANN-153 with SIEVE on CIFAR-100: 75 predictors, n=25 c=32, 300 epochs",
    command="anytimenet train ann_resnet_153 --data-root data",
    hardware=_HARDWARE,
    minutes=800,
    expected="claimed: with --scheme anytime (CONST) about the final error of ann_resnet_81",
)
def ann_resnet_153() -> Experiment:
    """The largest, 1.93 times the multiply-adds of the middle one."""
    return _cifar("resnet_ann_153")


@register_recipe(
    summary="MSDNet26 with SIEVE on ImageNet: 5 exits, 4 units apart, 128 epochs",
    command="anytimenet train ann_msdnet_26 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=6000,
    expected="claimed: better at any time than MSDNet36 and MSDNet41 with CONST weights (Fig. 2)",
)
def ann_msdnet_26() -> Experiment:
    """Their own net of 19 dense layers, 1326 M multiply-adds; the first MSDNet code's is
    `--net msdnet_imagenet_step4`."""
    return _imagenet("ann_msdnet_26")


@register_recipe(
    summary="MSDNet36 with SIEVE on ImageNet: 5 exits, 6 units apart, 128 epochs",
    command="anytimenet train ann_msdnet_36 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=12000,
    expected="claimed: with --scheme anytime (CONST) worse at any time than ann_msdnet_26 (Fig. 2)",
)
def ann_msdnet_36() -> Experiment:
    """29 dense layers, 2601 M multiply-adds; for the first MSDNet code `--net msdnet_imagenet_step6`."""
    return _imagenet("ann_msdnet_36")


@register_recipe(
    summary="MSDNet41 with SIEVE on ImageNet: 5 exits, 7 units apart, 128 epochs",
    command="anytimenet train ann_msdnet_41 --data imagenet:PATH",
    hardware=_LARGE,
    minutes=13000,
    expected="claimed: with --scheme anytime (CONST) worse at any time than ann_msdnet_26 (Fig. 2)",
)
def ann_msdnet_41() -> Experiment:
    """34 dense layers, 3347 M multiply-adds; for the first MSDNet code `--net msdnet_imagenet_step7`."""
    return _imagenet("ann_msdnet_41")


def _cifar(net: str) -> Experiment:
    return Experiment(
        data="cifar100",
        net=net,
        options=DataOptions(val_fraction=0.0),
        config=replace(preset("ann_cifar"), scheme="sieve"),
    )


def _imagenet(net: str) -> Experiment:
    return Experiment(
        data="",
        net=net,
        options=DataOptions(val_fraction=0.0),
        config=replace(preset("ann_imagenet"), scheme="sieve"),
        # Strengths as in MSDNet's first code; the source says that both are there, not how much.
        augmentation=LargeImageAugmentation(colour_jitter=0.4, lighting=0.1),
    )
