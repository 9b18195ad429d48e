"""ImageNet and CUB experiments of "Anytime Neural Prediction via Slicing Networks Vertically" (Fig. 4c).

Settings: sections 4.2 and 4.3 and appendix A. "As ResNet" is read as random resized crops of 224 pixels and
mirroring. The data are the user's: `--data imagenet:PATH`, `--data cub:PATH`. Minutes are estimates.
"""

from __future__ import annotations

from anytimenet.data import LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset


@register_recipe(
    summary="the paper's ImageNet model: IS-ResNeXt, L=20 W=160 K=5 C=30, 90 epochs, batches of 96",
    command="anytimenet train isresnext_imagenet --data imagenet:PATH",
    hardware="one large GPU, or several with --devices",
    minutes=4000,
    expected="up to 43.3 % fewer operations than MSDNet at equal accuracy (abstract, section 4.2)",
)
def isresnext_imagenet() -> Experiment:
    """Section 4.2; 50,000 training images held out."""
    return Experiment(
        data="",
        net="isresnext_62_imagenet",
        config=preset("paper_imagenet"),
        augmentation=LargeImageAugmentation(),
    )


@register_recipe(
    summary="the paper's birds: IS-ResNeXt, L=16 W=192 K=6 C=36, 150 epochs, 200 species",
    command="anytimenet train isresnext_cub --data cub:PATH",
    hardware="one GPU",
    minutes=150,
    expected="68.8 % error at the worst stage on the fine labels (section 4.3)",
)
def isresnext_cub() -> Experiment:
    """Section 4.3 on the fine labels alone; from scratch, 1,000 training images held out."""
    return Experiment(
        data="",
        net="isresnext_50_cub",
        config=preset("paper_cub"),
        augmentation=LargeImageAugmentation(),
    )
