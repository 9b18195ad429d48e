"""Whole experiments by name: `anytimenet train NAME`, `anytimenet list recipes`."""

from anytimenet.recipes import first_steps, slicing_vertically  # noqa: F401  (registers the recipes)
from anytimenet.recipes.experiment import Experiment, Recipe, list_recipes, recipe, register_recipe
from anytimenet.recipes.runner import Run, run, run_seeds

__all__ = ["Experiment", "Recipe", "Run", "list_recipes", "recipe", "register_recipe", "run", "run_seeds"]
