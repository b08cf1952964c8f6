"""One module a project whose checkpoints are understood; see ``segbench.checkpoints.foreign.family``."""
