"""Whole experiments by name: `anytimenet train NAME`, `anytimenet list recipes`."""

from anytimenet.recipes import (
    anytime_neural_network,
    block_dependent_losses,
    first_steps,
    msdnet,
    ranet,
    slicing,
)
from anytimenet.recipes.alone import run_alone
from anytimenet.recipes.experiment import (
    Experiment,
    Recipe,
    list_recipes,
    recipe,
    register_recipe,
    register_table,
)
from anytimenet.recipes.experiment_file import StartedExperiment
from anytimenet.recipes.runner import Run, run, run_seeds

for _table in (anytime_neural_network, block_dependent_losses, first_steps, msdnet, ranet, slicing):
    register_table(_table.RECIPES)

__all__ = [
    "Experiment",
    "Recipe",
    "Run",
    "StartedExperiment",
    "list_recipes",
    "recipe",
    "register_recipe",
    "run",
    "run_alone",
    "run_seeds",
]
