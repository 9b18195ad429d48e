"""Whole experiments by name: `anytimenet train NAME`, `anytimenet list recipes`."""

from anytimenet.recipes import (  # noqa: F401  (registers the recipes)
    anytime_neural_network,
    block_dependent_losses,
    first_steps,
    hierarchy,
    msdnet,
    ranet,
    segmentation,
    slicing_ablations,
    slicing_cifar,
    slicing_large,
)
from anytimenet.recipes.alone import run_alone
from anytimenet.recipes.experiment import Experiment, Recipe, list_recipes, recipe, register_recipe
from anytimenet.recipes.runner import Run, run, run_seeds

__all__ = [
    "Experiment",
    "Recipe",
    "Run",
    "list_recipes",
    "recipe",
    "register_recipe",
    "run",
    "run_alone",
    "run_seeds",
]
