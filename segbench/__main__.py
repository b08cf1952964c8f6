"""``python -m segbench``."""

from segbench.cli.main import run

run()
