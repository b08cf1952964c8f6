"""Every data set from archives in its official format: fetched from a server on this machine, and by hand."""

from importlib import import_module
from pathlib import Path

import pytest

from segbench.core.registry import names
from segbench.data.facts import DatasetOptions
from segbench.data.fetching.assemble import assemble
from segbench.data.fetching.download import download
from segbench.data.fetching.ledger import Ledger
from segbench.data.verify import verify
from tests.file_server import FileServer, serving

OFFICIAL = [name for name in names("dataset") if name != "camvid"]  # which has tests of its own


def official(name: str, folder: Path) -> tuple[DatasetOptions, dict[str, Path]]:
    module = import_module(f"tests.data.official.{name.replace('-', '_')}")
    return module.tiny_options(), module.write_archives(folder)


@pytest.mark.parametrize("name", OFFICIAL)
def test_fetched_split_by_split(name: str, tmp_path: Path) -> None:
    """One archive after the other as splits are asked for, then once more: nothing is left to fetch."""
    options, archives = official(name, tmp_path / "archives")
    server, root = FileServer(), tmp_path / "data"
    with serving(server):
        server.files = {archive: path.read_bytes() for archive, path in archives.items()}
        own = [
            item.model_copy(update={"urls": (f"{server.site}/{item.name}",), "account": None})
            for item in options.archives
        ]
        options = options.model_copy(update={"archives": tuple(own)})
        for split in options.splits:
            download(name, root, splits=[split], options=options)
        assert sorted(server.paths) == sorted(f"/{item.name}" for item in own)
        download(name, root, splits=list(options.splits), options=options)
        assert len(server.paths) == len(own)
    ledger = Ledger.read(root / name)
    assert ledger is not None and all(ledger.holds(item) for item in own)


@pytest.mark.parametrize("name", OFFICIAL)
def test_by_hand(name: str, tmp_path: Path) -> None:
    options, archives = official(name, tmp_path / "archives")
    for extra in set(archives) - {item.name for item in options.archives}:
        archives[extra].unlink()
    before = {path: path.read_bytes() for path in archives.values() if path.exists()}
    folder = assemble(name, tmp_path / "data", [tmp_path / "archives"], options=options)
    assert folder.is_relative_to(tmp_path / "data" / name)
    download(name, tmp_path / "data", options=options)  # nothing to fetch, and it is whole
    verify(name, tmp_path / "data", options=options)
    assert {path: path.read_bytes() for path in before} == before
