"""Experiments of "Anytime Neural Prediction via Slicing Networks Vertically".

Settings: sections 4.1 to 4.3 and appendix A. Expected errors are the paper's, of five runs; minutes are
estimates. "As ResNet" is read as random resized crops of 224 pixels and mirroring. The large data are the
user's: `--data imagenet:PATH`, `--data cub:PATH`. `--alone` trains every sub-network of a recipe by itself.
"""

from __future__ import annotations

from anytimenet.data import DataOptions, LargeImageAugmentation
from anytimenet.recipes.experiment import CUB, Experiment, Recipe
from anytimenet.training import preset

_PAPER = preset("paper")
_CROPS = LargeImageAugmentation()
_OWN_LEVELS = DataOptions(taxonomy="own")

CIFAR = (  # section 4.2, Fig. 4a and b
    Recipe.of(
        "isresnext_cifar",
        Experiment("cifar10", "isresnext_47", config=_PAPER),
        summary="the paper's interruptible CIFAR-10 model: IS-ResNeXt, L=15 W=96 K=6 C=18, 300 epochs",
        minutes=600,
        expected="thinnest stage with 17.2 % less error than the shallowest MSDNet, at lower cost "
        "(section 4.2)",
    ),
    Recipe.of(
        "isresnext_cifar100",
        Experiment("cifar100", "isresnext_47", config=_PAPER),
        summary="the same IS-ResNeXt on CIFAR-100",
        minutes=600,
        expected="thinnest stage with 12.1 % less error than the shallowest MSDNet, at lower cost "
        "(section 4.2)",
    ),
    Recipe.of(
        "iresnext_cifar",
        Experiment("cifar10", "iresnext_65", config=_PAPER),
        summary="the paper's I-ResNeXt for CIFAR-10: L=21 W=64 K=8, 300 epochs",
        minutes=1800,
        expected="full stage with 10.7 % less error than MSDNet at the same cost (section 4.2)",
    ),
    Recipe.of(
        "iresnext_cifar100",
        Experiment("cifar100", "iresnext_65", config=_PAPER),
        summary="the same I-ResNeXt on CIFAR-100",
        minutes=1800,
        expected="full stage with 5.8 % less error than MSDNet at the same cost (section 4.2)",
    ),
    Recipe.of(
        "resnext_65",
        Experiment("cifar10", "resnext_65", config=_PAPER),
        summary="fixed budget: a plain ResNeXt of depth 65, 300 epochs",
        minutes=200,
        expected="1.2e8 operations in the full count (section 4.2); a stage of I-ResNeXt with 0.5e8 competes",
    ),
    # As the paper must have had it, for its shallowest exit to cost more than the thinnest slice.
    Recipe.of(
        "msdnet_fig4",
        Experiment("cifar10", "msdnet_cifar_10", {"classifier": "linear", "channels": 32}, config=_PAPER),
        summary="the baseline of Fig. 4: MSDNet with 10 exits, linear heads and 32 channels, 300 epochs",
        minutes=400,
        expected="a curve in Fig. 4 only; heads and channels are inferred from the costs that the paper "
        "states",
    ),
)

ABLATIONS = (  # section 4.1, Fig. 3: 29-layer nets on CIFAR-10, L=9 W=64 C=8 K=8
    Recipe.of(
        "iresnext_ablation",
        Experiment("cifar10", "iresnext_29", config=_PAPER),
        summary="ablation, thin: I-ResNeXt with own BatchNorms, 300 epochs",
        minutes=900,
        expected="12.9 % error at the thinnest stage and 7.2 % at the full one",
    ),
    # `anytimenet reestimate` then gives every stage statistics of its own.
    Recipe.of(
        "iresnext_ablation_shared",
        Experiment("cifar10", "iresnext_29", {"normalisation": "shared"}, config=_PAPER),
        summary="ablation, normalisation: the same I-ResNeXt with one shared set of BatchNorms",
        minutes=900,
        expected="more than 70 % error at the thinnest stage, about 8.95 % at the full one",
    ),
    Recipe.of(
        "resnext_ablation",
        Experiment("cifar10", "resnext_29", config=_PAPER),
        summary="ablation, plain: a ResNeXt of that depth, whose branches weigh alike",
        minutes=100,
        expected="no number in the text; flat branch norms in block 5 (reproductions/branch_norms.py)",
    ),
    Recipe.of(
        "shallow_ablation",
        Experiment("cifar10", "resnext_29_exits", config=_PAPER),
        summary="ablation, shallow: ResNeXt with exits after blocks 2 to 9, trained together",
        minutes=150,
        expected="about 25.0 % error at the shallowest exit (12.9 % is 48.4 % less); up to 5.1 points lost",
    ),
    Recipe.of(
        "thin_alone",
        Experiment("cifar10", "iresnext_29", config=_PAPER, stages=(1,)),
        summary="ablation: the thinnest sub-network trained alone",
        minutes=100,
        expected="about 11.7 % error; all eight beside the joint net: "
        "anytimenet train iresnext_ablation --alone",
    ),
    Recipe.of(
        "shallow_alone",
        Experiment("cifar10", "resnext_29_exits", config=_PAPER, stages=(1,)),
        summary="ablation: the shallowest sub-network trained alone",
        minutes=50,
        expected="19.9 % error; all eight beside the joint net: anytimenet train shallow_ablation --alone",
    ),
)

LARGE = (  # sections 4.2 and 4.3, Fig. 4c; 50,000 and 1,000 training images held out
    Recipe.of(
        "isresnext_imagenet",
        Experiment("", "isresnext_62_imagenet", config=preset("paper_imagenet"), augmentation=_CROPS),
        summary="the paper's ImageNet model: IS-ResNeXt, L=20 W=160 K=5 C=30, 90 epochs, batches of 96",
        hardware="one large GPU, or several with --devices",
        minutes=4000,
        expected="up to 43.3 % fewer operations than MSDNet at equal accuracy (abstract, section 4.2)",
    ),
    Recipe.of(
        "isresnext_cub",
        Experiment("", "isresnext_50_cub", config=preset("paper_cub"), augmentation=_CROPS),
        flags=CUB,
        summary="the paper's birds: IS-ResNeXt, L=16 W=192 K=6 C=36, 150 epochs, 200 species",
        hardware="one GPU",
        minutes=150,
        expected="68.8 % error at the worst stage on the fine labels (section 4.3)",
    ),
)

# Section 4.3, Fig. 5: a head for each stage and label level, the sum of their losses (equation 2), and after
# training a level chosen for each stage: `anytimenet evaluate RUN --target-accuracy A`.
LEVELS = (
    Recipe.of(
        "isresnext_cifar100_levels",
        Experiment("cifar100", "isresnext_47", options=_OWN_LEVELS, config=_PAPER),
        summary="IS-ResNeXt on CIFAR-100 with two heads a stage, for 100 classes and 20 superclasses",
        minutes=600,
        expected="superclasses are right more often than classes at every stage (section 4.3, Fig. 5)",
    ),
    # The levels are those of WordNet that come with the package, or of `taxonomy.json` beside the images.
    Recipe.of(
        "isresnext_cub_levels",
        Experiment(
            "", "isresnext_50_cub", options=_OWN_LEVELS, config=preset("paper_cub"), augmentation=_CROPS
        ),
        flags=CUB,
        summary="the birds on four label levels (200, 183, 149 and 80 classes), four heads a stage",
        hardware="one GPU",
        minutes=150,
        expected="with a level chosen for each stage 52.5 % error at worst instead of 68.8 % (section 4.3)",
    ),
)

RECIPES = (*CIFAR, *ABLATIONS, *LARGE, *LEVELS)
