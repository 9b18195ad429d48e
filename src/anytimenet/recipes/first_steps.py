"""Recipes for the first minutes: digits that need no download, and your own images or masks."""

from __future__ import annotations

from dataclasses import replace

from anytimenet.data import Augmentation, DataOptions, MaskAugmentation
from anytimenet.recipes.experiment import Experiment, Recipe
from anytimenet.training import TrainConfig, preset

_FAST = preset("fast")

RECIPES = (
    # Real images that ship inside scikit-learn; the quickstart's experiment. Settings chosen on validation
    # images over five seeds. A hundred of them cannot tell two good stages apart: the mean chooses.
    Recipe.of(
        "digits",
        Experiment(
            "digits",
            "isresnext_small",
            config=TrainConfig(
                epochs=60,
                batch_size=64,
                statistics="running",
                lr=0.1,
                weight_decay=5e-4,
                schedule="cosine",
                warmup=0.25,
                label_smoothing=0.1,
                select="mean",
            ),
            augmentation=Augmentation(flip=False, pad=1),
        ),
        flags="",
        summary="an IS-ResNeXt with 4 stages on scikit-learn's 1,797 handwritten digits",
        hardware="2 CPU cores",
        minutes=1,
        expected="stage 1 about 98 %, last stage about 99 % of the held-out 30 % (reproductions/digits)",
    ),
    # Of a stranger's images nothing is known but their number.
    Recipe.of(
        "folder",
        Experiment(
            "",
            "isresnext_small",
            config=replace(_FAST, batch_size=None, statistics="auto"),
            augmentation=Augmentation(flip=True, pad=2),
        ),
        flags="--data folder:PATH --image-size 32 --epochs 10",
        summary="a small IS-ResNeXt on any folder with one sub-folder of images a class",
        hardware="2 CPU cores for thousands of small images",
        minutes=10,
        expected="depends on the images; the table of validation and test accuracy is printed",
    ),
    # CamVid, or your own masks with `--data masks:PATH`.
    Recipe.of(
        "segmentation",
        Experiment(
            "",
            "fcn_exits_small",
            options=DataOptions(image_size=(96, 128)),
            config=replace(_FAST, epochs=15, batch_size=16, lr=0.1),
            augmentation=MaskAugmentation(flip=True, pad=8),
        ),
        flags="--data camvid:PATH",
        summary="label maps at four exits: a small FCN on images with masks, at 96x128 pixels, 15 epochs",
        hardware="2 CPU cores for a few hundred small images",
        minutes=3,
        expected="mean IoU of every exit over its multiply-adds, and masks.png with one street at every exit",
    ),
)
