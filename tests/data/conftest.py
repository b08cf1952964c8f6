"""Nothing in these tests may touch the user's own cache or data."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.delenv("SEGBENCH_DATA", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Data root with a miniature CamVid in the split layout."""
    from tests.data.camvid_tree import write_tree

    write_tree(tmp_path / "data" / "camvid")
    return tmp_path / "data"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Data root with a CamVid of six training images of several sizes."""
    from tests.data.sized_tree import write_root

    return write_root(tmp_path / "data")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are decoded while a test runs."""
    from segbench.data import images

    names: list[str] = []
    read = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path: names.append(path.name) or read(path))
    return names
