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
from anytimenet.recipes.experiment import Experiment, Recipe
from anytimenet.training import preset

_ALL_IMAGES = DataOptions(val_fraction=0.0)


def _cifar(name: str, minutes: float, summary: str, expected: str) -> Recipe:
    """`--data cifar10` for the other data."""
    net, config = name.replace("ann_resnet", "resnet_ann"), replace(preset("ann_cifar"), scheme="sieve")
    experiment = Experiment("cifar100", net, options=_ALL_IMAGES, config=config)
    return Recipe.of(name, experiment, summary=summary, minutes=minutes, expected=expected)


def _imagenet(net: str, minutes: float, summary: str, expected: str) -> Recipe:
    experiment = Experiment(
        "",
        net,
        options=_ALL_IMAGES,
        config=replace(preset("ann_imagenet"), scheme="sieve"),
        # Strengths as in MSDNet's first code; the source says that both are there, not how much.
        augmentation=LargeImageAugmentation(colour_jitter=0.4, lighting=0.1),
    )
    return Recipe.of(net, experiment, summary=summary, minutes=minutes, expected=expected)


RECIPES = (
    _cifar(
        "ann_resnet_45",
        200,
        "ResANN-45 with SIEVE on CIFAR-100: 21 predictors, n=7 c=32, 300 epochs",
        "claimed: the final error of CONST weights at twice the depth, early errors alike",
    ),
    _cifar(  # 1.88 times the multiply-adds of the smallest
        "ann_resnet_81",
        400,
        "ResANN-81 with SIEVE on CIFAR-100: 39 predictors, n=13 c=32, 300 epochs",
        "claimed: with --scheme anytime (CONST) about the final error of ann_resnet_45",
    ),
    _cifar(  # 1.93 times those of the middle one
        "ann_resnet_153",
        800,
        "ResANN-153 with SIEVE on CIFAR-100: 75 predictors, n=25 c=32, 300 epochs",
        "claimed: with --scheme anytime (CONST) about the final error of ann_resnet_81",
    ),
    # Their own nets of 19, 29 and 34 dense layers, 1326, 2601 and 3347 M multiply-adds; those of the first
    # MSDNet code are `--net msdnet_imagenet_step4`, step6 and step7.
    _imagenet(
        "ann_msdnet_26",
        6000,
        "MSDNet26 with SIEVE on ImageNet: 5 exits, 4 units apart, 128 epochs",
        "claimed: better at any time than MSDNet36 and MSDNet41 with CONST weights (Fig. 2)",
    ),
    _imagenet(
        "ann_msdnet_36",
        12000,
        "MSDNet36 with SIEVE on ImageNet: 5 exits, 6 units apart, 128 epochs",
        "claimed: with --scheme anytime (CONST) worse at any time than ann_msdnet_26 (Fig. 2)",
    ),
    _imagenet(
        "ann_msdnet_41",
        13000,
        "MSDNet41 with SIEVE on ImageNet: 5 exits, 7 units apart, 128 epochs",
        "claimed: with --scheme anytime (CONST) worse at any time than ann_msdnet_26 (Fig. 2)",
    ),
)
