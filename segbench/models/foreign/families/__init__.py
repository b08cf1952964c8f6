"""One module a project whose checkpoints are understood; see ``segbench.models.foreign.family``."""
