"""Label levels of "Anytime Neural Prediction via Slicing Networks Vertically", section 4.3 (Fig. 5).

A head for each stage and label level, the sum of their losses (equation 2), and after training a level chosen
for each stage: `anytimenet evaluate RUN --target-accuracy A`. Settings: section 4.3 and appendix A. Minutes
are estimates.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import Experiment, register_recipe
from anytimenet.training import preset


@register_recipe(
    summary="IS-ResNeXt on CIFAR-100 with two heads a stage, for 100 classes and 20 superclasses",
    command="anytimenet train isresnext_cifar100_levels --data-root data",
    hardware="one GPU; days on 2 CPU cores",
    minutes=600,
    expected="superclasses are right more often than classes at every stage (section 4.3, Fig. 5)",
)
def isresnext_cifar100_levels() -> Experiment:
    """The superclasses are those of the data set's own files."""
    return Experiment(
        data="cifar100",
        net="isresnext_47",
        options=DataOptions(taxonomy="own"),
        config=preset("paper"),
    )


@register_recipe(
    summary="the birds on four label levels (200, 183, 149 and 80 classes), four heads a stage",
    command="anytimenet train isresnext_cub_levels --data cub:PATH",
    hardware="one GPU",
    minutes=150,
    expected="with a level chosen for each stage 52.5 % error at worst instead of 68.8 % (section 4.3)",
)
def isresnext_cub_levels() -> Experiment:
    """The levels are those of WordNet that come with the package, or of `taxonomy.json` beside the images."""
    return Experiment(
        data="",
        net="isresnext_50_cub",
        options=DataOptions(taxonomy="own"),
        config=preset("paper_cub"),
        augmentation=LargeImageAugmentation(),
    )
