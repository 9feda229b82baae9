"""Recipes: YAML with line marks, checked against the registry, built into objects."""

from genmods.recipe.build import build, create
from genmods.recipe.check import FACTS, From, Part
from genmods.recipe.recipe import Recipe, from_plain, load
from genmods.recipe.text import RecipeError

__all__ = ["FACTS", "From", "Part", "Recipe", "RecipeError", "build", "create", "from_plain", "load"]
