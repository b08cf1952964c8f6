"""Nothing in these tests may touch the user's own results, cache or data."""

from pathlib import Path

import pytest

from tests.program import Done, segbench, tiny


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RESULTS", "DATA", "CACHE"):
        monkeypatch.setenv(f"SEGBENCH_{name}", str(tmp_path / "user" / name.lower()))
    for name in ("SEGBENCH_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """A results folder after one tiny training of one row, and what the command printed. Not to be written to."""
    out = tmp_path_factory.mktemp("trained")
    done = segbench(*tiny(out=out))
    assert done.code == 0, done.err
    return out, done


@pytest.fixture(scope="session")
def weights(trained: tuple[Path, Done]) -> Path:
    """The weights of that training."""
    (path,) = trained[0].glob("trainings/*/last.safetensors")
    return path


@pytest.fixture
def camvid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a miniature CamVid, and facts to match: 5 train, 2 val and 3 test pairs of 48x64."""
    from tests.data.camvid_tree import tree_options, write_tree

    size = (48, 64)
    monkeypatch.setattr("segbench.data.sets.camvid.options.Options", lambda: tree_options(size=size))
    write_tree(tmp_path / "data" / "camvid", size=size)
    return tmp_path / "data"


@pytest.fixture
def cityscapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a miniature Cityscapes, and facts to match: 2 val pairs of 32x64."""
    from tests.data.official.cityscapes import tiny_options, write_tree

    options = tiny_options()
    monkeypatch.setattr("segbench.data.sets.cityscapes.options.Options", lambda: options)
    write_tree(tmp_path / "data" / "cityscapes")
    return tmp_path / "data"


@pytest.fixture
def cityscapes_weights(tmp_path: Path) -> Path:
    """A network of Cityscapes' 19 classes, many of which it predicts."""
    from tests.networks import varied_weights

    return varied_weights(tmp_path / "streets.safetensors", "cityscapes")
