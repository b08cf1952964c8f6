"""Nothing in these tests may touch the user's own results, cache or data."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"SEGBENCH_{name}", str(tmp_path / "user" / name.lower()))
