"""Recipes: YAML with line numbers, checked against the registry, built into objects."""
