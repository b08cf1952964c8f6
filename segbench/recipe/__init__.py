"""Recipes: strict YAML, schema, resolving, deviations. Free of torch."""
