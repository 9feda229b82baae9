"""Recipes: YAML with line marks, checked against the registry, built into objects."""
