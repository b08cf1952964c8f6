"""Version and commit of the running segbench."""

import subprocess
from functools import cache
from pathlib import Path

from segbench import __version__


@cache
def segbench_version() -> dict[str, str]:
    """Return the version of segbench and, in a checkout, its commit, marked ``+changes`` if it was modified.

    The commit is that of segbench's own checkout, never of the working directory.
    """
    own = Path(__file__).resolve().parents[2]
    found = {"segbench": __version__}
    if (own / ".git").exists():
        commit = _git(own, "rev-parse", "HEAD")
        if commit:
            found["commit"] = commit + (
                "+changes" if _git(own, "status", "--porcelain", "--", "segbench", "recipes") else ""
            )
    return found


def _git(folder: Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
