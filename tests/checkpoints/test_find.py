"""What a user types for a checkpoint: addresses, repositories of the hub, paths and names, against servers here."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from segbench.checkpoints.find import CheckpointFile, find_checkpoint
from segbench.core.download import RetryPolicy
from segbench.core.errors import MissingFault, SegbenchError, UsageFault
from tests.file_server import CONTENT, FileServer, serving
from tests.hub_server import HubServer

SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = RetryPolicy(attempts=2, backoff_seconds=0.001)
TRUE, FALSE = f"net-{SUM[:8]}.pth", "net-00000000.pth"


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    _take_for_hub("http://127.0.0.1:9", monkeypatch)


def _take_for_hub(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", site)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    template = site + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    # Versions before 1.0 keep a copy of their own.
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    server = FileServer()
    with serving(server):
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub of three repositories: with both kinds of files, with the old one alone, and with neither."""
    both = {"model.safetensors": CONTENT, "pytorch_model.bin": CONTENT[1:], "nested/other.pth": CONTENT[2:]}
    server = HubServer(
        {"one/both": both, "one/old": {"pytorch_model.bin": CONTENT}, "one/none": {"config.json": b"{}"}}
    )
    with serving(server):
        _take_for_hub(server.site, monkeypatch)
        yield server


def find(text: str) -> CheckpointFile:
    return find_checkpoint(text, policy=QUICK)


def fault(text: str) -> str:
    with pytest.raises(SegbenchError) as caught:
        find(text)
    assert caught.value.next and all("\n" not in line for line in caught.value.faults)
    return " ".join(caught.value.faults)


def test_an_address_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    url = f"{server.site}/some/{TRUE}"
    source = find(url)
    assert source.path.read_bytes() == CONTENT and source.path.name == TRUE
    assert source.path.is_relative_to(tmp_path / "cache")
    assert (source.origin, source.note, source.published) == (url, "", None)
    asked = len(server.paths)
    assert find(url) == source and len(server.paths) == asked
    assert find(f"{server.site}/other/{TRUE}").path != source.path, "a file of the same name elsewhere is another one"


def test_the_checksum_in_the_name_is_held_to(server: FileServer) -> None:
    said = fault(f"{server.site}/{FALSE}")
    assert SUM in said and "does not begin with the 00000000 of its name: it was removed" in said
    assert not list(Path(find(f"{server.site}/{TRUE}").path).parent.parent.rglob(FALSE))


def test_a_download_that_was_changed_since(server: FileServer) -> None:
    path = find(f"{server.site}/{TRUE}").path
    path.write_bytes(b"other")
    said = fault(f"{server.site}/{TRUE}")
    assert "it was removed" in said and not path.exists()


def test_addresses_that_give_nothing(server: FileServer) -> None:
    server.missing = {"lost.pth"}
    assert "404" in fault(f"{server.site}/lost.pth")
    assert "names no file" in fault(server.site)
    with pytest.raises(UsageFault):
        find(f"{server.site}/")


def test_offline_an_address_says_where_the_file_belongs(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{server.site}/{TRUE}"
    monkeypatch.setenv("SEGBENCH_OFFLINE", "1")
    said = fault(url)
    assert "SEGBENCH_OFFLINE is set" in said and url in said and server.paths == []
    monkeypatch.delenv("SEGBENCH_OFFLINE")
    path = find(url).path
    assert str(path) in said
    monkeypatch.setenv("SEGBENCH_OFFLINE", "1")
    assert find(url).path == path


def test_safetensors_before_the_pickle(hub: HubServer) -> None:
    source = find("hf:one/both")
    assert source.path.name == "model.safetensors" and source.path.read_bytes() == CONTENT
    assert source.origin.startswith("hf:one/both@") and len(source.origin.rpartition("@")[2]) == 40
    assert find("hf:one/old").path.name == "pytorch_model.bin"
    assert find("hf:one/both/nested/other.pth").path.read_bytes() == CONTENT[2:]


def test_repositories_that_do_not_serve(hub: HubServer) -> None:
    assert "has none of model.safetensors, pytorch_model.bin" in fault("hf:one/none")
    assert "has none of nosuch.pth" in fault("hf:one/both/nosuch.pth")
    assert "no public repository one/nosuch" in fault("hf:one/nosuch")
    for text in ("hf:one", "hf:", "hf:one/"):
        assert "is not hf:ORG/NAME" in fault(text)


def test_the_cache_of_the_hub_serves_offline(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [find(text) for text in ("hf:one/both", "hf:one/old")]
    asked = len(hub.paths)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert [find(text) for text in ("hf:one/both", "hf:one/old")] == found
    said = fault("hf:two/other")
    assert "HF_HUB_OFFLINE is set" in said and "hf download two/other" in said and len(hub.paths) == asked


def test_a_hub_that_nobody_reaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "time.sleep", lambda seconds: None
    )  # huggingface_hub waits longer and longer, 23 seconds in all
    said = fault("hf:one/both@abcdef")
    assert "the hub cannot be reached" in said and "HF_HUB_OFFLINE=1" in said and str(tmp_path / "hub") in said
    assert "hf download one/both --revision abcdef" in said


def test_paths(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(b"x")
    assert find(str(path)) == CheckpointFile(path, str(path), None)
    with pytest.raises(MissingFault, match="There is no file"):
        find(str(tmp_path / "nosuch.pth"))


@pytest.mark.parametrize("switch", ["SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_the_hub_is_at_rest_while_its_cache_is_looked_into(
    switch: str, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some versions ask the hub about their caller even then."""
    resting = []
    download = huggingface_hub.hf_hub_download

    def watched(*words: Any, **options: Any) -> Any:
        resting.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        return download(*words, **options)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", watched)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    found = find("hf:one/old")
    assert resting and not any(resting)
    asked = len(hub.paths)
    monkeypatch.setenv(switch, "1")
    resting.clear()
    assert find("hf:one/old") == found
    assert f"{switch} is set" in fault("hf:two/other")
    assert len(resting) == 4 and all(resting) and len(hub.paths) == asked
    assert not huggingface_hub.constants.HF_HUB_OFFLINE


def test_addresses_of_other_kinds() -> None:
    for text in ("ftp://host/net.pth", "s3://bucket/net.pth"):
        assert f"{text} cannot be downloaded" in fault(text)


def test_a_folder_as_transformers_saves_it(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    assert "has none of model.safetensors, pytorch_model.bin" in fault(str(folder))
    (folder / "pytorch_model.bin").write_bytes(b"x")
    assert find(str(folder)).path == folder / "pytorch_model.bin"
    (folder / "model.safetensors").write_bytes(b"y")
    assert find(str(folder)).path == folder / "model.safetensors"
