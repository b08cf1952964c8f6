"""``segbench weights list`` and ``download``, against servers on this machine."""

import hashlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from segbench.checkpoints import published as checkpoints
from segbench.checkpoints.fetch import fetch_checkpoint, known_sha256, local_path
from segbench.checkpoints.find import CheckpointFile, find_checkpoint
from segbench.checkpoints.published import checkpoint
from segbench.core.download import RetryPolicy
from segbench.core.errors import MissingFault
from tests.file_server import CONTENT, FileServer, serving
from tests.hub_server import HubServer
from tests.program import Done, segbench, start, wait
from tests.waiting import until, wait_for

SUM = hashlib.sha256(CONTENT).hexdigest()
QUICK = RetryPolicy(attempts=2, backoff_seconds=0.001)
TABLE = """
protocols:
  whole: {{short: whole, words: the whole image, fields: {{}}}}
groups:
  - family: torchvision
    project: One
    address: {site}/
    digest: trusted
    licence: As you like it.
    source: none
    checkpoints:
      - name: one-true
        network: A
        file: true-{sum}.pth
        data: camvid
        figures: [{{protocol: whole, value: "71.00"}}]
      - {{name: one-false, network: A, file: false-00000000.pth, data: camvid, figures: []}}
  - family: mmsegmentation
    project: Two
    address: {site}/
    digest: doubtful
    licence: As you like it.
    source: none
    checkpoints:
      - {{name: two-renamed, network: B, file: renamed-00000000.pth, data: camvid, figures: []}}
      - {{name: two-lost, network: B, file: lost-00000000.pth, data: camvid, figures: []}}
"""


@pytest.fixture(autouse=True)
def _connected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server, and a table of four files that it has."""
    server = FileServer()
    server.missing = {"lost-00000000.pth"}
    table = tmp_path / "table.yaml"
    table.write_text(TABLE.format(site=server.site, sum=SUM[:8]), encoding="utf-8")
    monkeypatch.setattr(checkpoints, "_TABLE", table)
    checkpoints.checkpoint_table.cache_clear()
    with serving(server):
        yield server
    checkpoints.checkpoint_table.cache_clear()


def stored(tmp_path: Path, name: str, file: str) -> Path:
    return tmp_path / "user" / "cache" / "weights" / name / file


def test_downloads_once_and_says_what_it_got(server: FileServer, tmp_path: Path) -> None:
    done = segbench("weights", "download", "one-true")
    path = stored(tmp_path, "one-true", f"true-{SUM[:8]}.pth")
    assert done.code == 0, done.err
    assert path.read_bytes() == CONTENT
    assert f"{SUM}: begins as its name says" in done.out
    assert str(path) in done.out and "As you like it." in done.out
    assert done.out.endswith("Next: segbench eval --checkpoint one-true\n")
    assert path.with_name(f"{path.name}.sha256").read_text() == f"{SUM}  {path.name}\n"
    assert segbench("weights", "download", "one-true").code == 0
    assert len(server.paths) == 1


def test_goes_on_where_it_stopped(server: FileServer, tmp_path: Path) -> None:
    server.drops = [1000, 0, 0]
    with pytest.raises(MissingFault, match="are kept") as caught:
        fetch_checkpoint(checkpoint("one-true"), policy=QUICK)
    assert caught.value.next == "segbench weights download one-true"
    assert local_path(checkpoint("one-true")) is None
    path = fetch_checkpoint(checkpoint("one-true"), policy=QUICK)
    assert server.asked[0] is None and set(server.asked[1:]) == {"bytes=1000-"}
    assert path.read_bytes() == CONTENT


def test_a_trusted_digest_refuses_another_file(server: FileServer, tmp_path: Path) -> None:
    done = segbench("weights", "download", "one-false", "--quiet")
    assert f"SHA-256 {SUM}, the one published begins with 00000000: it was removed" in done.fails(3)
    assert not list(stored(tmp_path, "one-false", "").glob("false*.pth"))
    server.files["false-00000000.pth"] = b"another"
    assert "begins with 00000000" in segbench("weights", "download", "one-false").fails(3), "no record was left"


def test_a_doubtful_digest_only_warns(server: FileServer) -> None:
    done = segbench("weights", "download", "two-renamed")
    assert done.code == 0
    assert "Two changes newer files after naming them" in done.err
    assert f" --  SHA-256 {SUM}: not as its name says" in done.out


def test_the_digest_that_was_seen_first_is_held_to(server: FileServer, tmp_path: Path) -> None:
    path = stored(tmp_path, "two-renamed", "renamed-00000000.pth")
    segbench("weights", "download", "two-renamed")
    path.write_bytes(CONTENT[1:])
    assert "recorded in" in segbench("weights", "download", "two-renamed").fails(3)
    assert not path.exists()
    server.content = CONTENT[::-1]
    assert "recorded in" in segbench("weights", "download", "two-renamed").fails(3)
    server.content = CONTENT
    assert segbench("weights", "download", "two-renamed").code == 0
    assert path.read_bytes() == CONTENT
    assert known_sha256(checkpoint("two-renamed")) == SUM


def test_a_file_brought_by_hand_is_taken_and_recorded(server: FileServer, tmp_path: Path) -> None:
    path = stored(tmp_path, "one-true", f"true-{SUM[:8]}.pth")
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert segbench("weights", "download", "one-true").code == 0
    assert server.paths == []
    assert known_sha256(checkpoint("one-true")) == SUM


def test_of_several_the_others_are_got(server: FileServer) -> None:
    done = segbench("weights", "download", "two-lost", "one-true", "one-false", "one-true")
    text = done.err
    assert done.code == 3
    assert "lost-00000000.pth answers 404" in text and "false-00000000.pth" in text
    assert done.lines[-1] == "Next: segbench weights download two-lost one-false"
    assert local_path(checkpoint("one-true")) is not None


@pytest.mark.parametrize("switch", ["SEGBENCH_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_names_everything_that_lacks(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    segbench("weights", "download", "two-renamed")
    asked = len(server.paths)
    monkeypatch.setenv(switch, "1")
    done = segbench("weights", "download", "one-true", "two-renamed", "timm/hrnet_w18.ms_in1k", "two-lost")
    done_lines = [line for line in done.lines if "changes newer files" not in line]
    assert done.code == 3
    assert "two-renamed" in done.out, "what is here serves"
    assert [line.split()[0] for line in done_lines[:-1]] == ["one-true", "The", "two-lost"]
    assert all(switch in line and "segbench weights download" in line for line in done_lines[:-1])
    assert str(stored(tmp_path, "one-true", f"true-{SUM[:8]}.pth")) in done_lines[0]
    again = "Next: segbench weights download one-true timm/hrnet_w18.ms_in1k two-lost, on a connected machine"
    assert done_lines[-1] == again
    assert len(server.paths) == asked
    monkeypatch.setenv(switch, "0")
    assert segbench("weights", "download", "one-true").code == 0


def test_a_cache_that_cannot_be_written_to(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "file"))
    assert str(tmp_path / "file") in segbench("weights", "download", "one-true").fails(5)
    assert server.paths == []


def test_no_name_and_wrong_names(server: FileServer) -> None:
    assert "Name the weights to download." in segbench("weights", "download").fails(2)
    assert "Close: one-true." in segbench("weights", "download", "one-treu").fails(2)
    assert "Close: one-true." in segbench("weights", "list", "one-t").fails(2), "the beginning of a name"
    assert segbench("weights", "download", "one-true", "?").fails(2)
    assert server.paths == [], "names are looked at before anything is fetched"


def test_two_processes_share_one_download(server: FileServer, tmp_path: Path) -> None:
    server.held = threading.Event()
    table = tmp_path / "table.yaml"
    program = (
        "import sys, pathlib; from segbench.checkpoints import published as checkpoints; "
        f"checkpoints._TABLE = pathlib.Path({str(table)!r}); "
        "from segbench.cli.main import main; sys.exit(main(['weights', 'download', 'one-true']))"
    )

    def begin() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )

    first = begin()
    wait_for(lambda: server.asked, process=first)
    second = begin()
    until(second, r"Another process is downloading true-\w+\.pth; waiting for it\.$")
    server.held.set()
    done = [wait(process) for process in (first, second)]
    assert [each.code for each in done] == [0, 0], done
    assert server.asked == [None]
    assert all(SUM in each.out for each in done)


def test_what_a_user_types_becomes_a_file(server: FileServer, tmp_path: Path) -> None:
    found = find_checkpoint("one-true")
    path, published = found.path, found.published
    assert published is checkpoint("one-true") and path.read_bytes() == CONTENT
    own = tmp_path / "mine.pth"
    own.write_bytes(b"x")
    assert find_checkpoint(str(own)) == CheckpointFile(own, str(own), None)
    assert find_checkpoint(str(path)) == CheckpointFile(path, str(path), published)
    for text in ("none.pth", "no/where", str(tmp_path)):
        with pytest.raises(MissingFault, match="There is no file"):
            find_checkpoint(text)
    fault = segbench("weights", "convert", "one-tru", "--to", "segbench").fails(2)
    assert "There is no file one-tru." in fault and "Close: one-true" in fault


def test_lists_everything_with_its_figures() -> None:
    done = segbench("weights", "list")
    assert done.code == 0
    assert re.search(r"mmseg-pspnet-r101-cityscapes-80k +PSPNet.* cityscapes val +79\.76 +whole +- +no", done.out)
    assert re.search(r"hf-segformer-b0-cityscapes-1024 .* 76\.2~ ", done.out)
    assert "~ from memory" in done.out and "timm/hrnet_w48.ms_in1k" in done.out
    entries = segbench("weights", "list", "--json").json
    assert {entry["kind"] for entry in entries} == {"checkpoint", "backbone"}
    assert len({entry["name"] for entry in entries if entry["kind"] == "checkpoint"}) == 73


def test_lists_of_a_family_and_of_a_data_set() -> None:
    swin = segbench("weights", "list", "--family", "swin", "--json").json
    assert [entry["name"] for entry in swin] == ["swin-upernet-swin-t-ade20k-160k"]
    (voc,) = segbench("weights", "list", "--dataset", "voc2012", "--family", "mmsegmentation", "--json").json
    assert voc["figures"][0]["evaluation"] == {
        "data": {"name": "voc2012", "splits": ["val"]}, "short_side": 512, "max_side": 2048,
        "enlarge": "twice",
    }  # fmt: skip
    imagenet = segbench("weights", "list", "--dataset", "imagenet", "--json").json
    assert {entry["kind"] for entry in imagenet} == {"backbone"}
    assert "from memory" not in segbench("weights", "list", "--family", "openseg").out
    assert "Close: torchvision." in segbench("weights", "list", "--family", "torchvison").fails(2)
    assert "cityscapes" in segbench("weights", "list", "--dataset", "cityscape").fails(2)
    assert segbench("weights", "list", "hf-upernet-swin-t-ade20k", "--family", "swin").fails(2)


def test_one_in_full() -> None:
    out = segbench("weights", "list", "hf-segformer-b5-cityscapes-1024").out
    assert "mIoU 82.39   windows of 1024x1024 every 768 pixels" in out
    assert "measured by a user of the file" in out and "NVIDIA Source Code License" in out
    entry = segbench("weights", "list", "hrnet-ocrnet-hr48-ade20k", "--json").json
    assert entry["schema"] == 1
    assert entry["figures"][1]["evaluation"]["scales"][-1] == 2.0
    assert "pads with black" in entry["figures"][1]["beyond_evaluation"]
    assert entry["path"] is None and entry["licence"].startswith("MIT")
    assert "resnet101COCO" in segbench("weights", "list", "resnet101COCO-41f33a49.pth").out
    assert "Close: hrnet-hr48-ade20k" in segbench("weights", "list", "hrnet-hr48-ade2k").fails(2)


def test_list_knows_what_is_here(server: FileServer) -> None:
    assert segbench("weights", "list", "one-true", "--json").json["path"] is None
    segbench("weights", "download", "one-true")
    entry = segbench("weights", "list", "one-true", "--json").json
    assert (entry["size_bytes"], entry["sha256"]) == (len(CONTENT), SUM)
    assert re.search(r"one-true +A +camvid val +71\.00 +whole +1 MB +yes", segbench("weights", "list").out)
    assert "Next: segbench eval --checkpoint one-true" in segbench("weights", "list", "one-true").out


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A hub with two repositories, one of which has no safetensors file."""
    server = HubServer(
        {
            "nvidia/segformer-b0-finetuned-ade-512-512": {"pytorch_model.bin": CONTENT},
            "timm/hrnet_w18_small.ms_in1k": {"model.safetensors": CONTENT[:5000]},
        }
    )
    with serving(server):
        yield server


def at_hub(hub: str, tmp_path: Path, *words: object, **environment: str) -> Done:
    """Run a command in a process of its own that takes this hub for the real one."""
    own = {"HF_ENDPOINT": hub, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1", **environment}
    return wait(start("weights", *words, **own))


def test_files_of_the_hub_lie_in_its_own_cache(hub: HubServer, tmp_path: Path) -> None:
    names = ("hf-segformer-b0-ade20k-512", "timm/hrnet_w18_small.ms_in1k")
    done = at_hub(hub.site, tmp_path, "download", *names)
    assert done.code == 0, done.err
    (path,) = (tmp_path / "hf").glob("hub/models--nvidia--*/snapshots/*/pytorch_model.bin")
    assert path.read_bytes() == CONTENT
    assert f"SHA-256 {SUM}: as first seen" in done.out and str(path) in done.out
    asked = len(hub.paths)
    done = at_hub(hub.site, tmp_path, "download", *names, SEGBENCH_OFFLINE="1")
    assert done.code == 0, done.err
    path.resolve().write_bytes(CONTENT[1:])
    done = at_hub(hub.site, tmp_path, "download", *names, SEGBENCH_OFFLINE="1")
    assert f"is {SUM}: it was removed" in done.err and done.code == 3
    assert not path.exists() and not path.is_symlink()
    assert re.search(r"timm/hrnet_w18_small\.ms_in1k .* yes", at_hub(hub.site, tmp_path, "list").out)
    assert len(hub.paths) == asked, "looking asks nobody, connected or not"


def test_faults_of_the_hub_are_one_line_each(hub: HubServer, tmp_path: Path) -> None:
    done = at_hub(hub.site, tmp_path, "download", "hf-segformer-b1-ade20k-512", "-q")
    assert "has no public repository nvidia/segformer-b1-finetuned-ade-512-512" in done.fails(3)
    assert len(done.lines) == 2
    names = ("hf-segformer-b1-ade20k-512", "timm/hrnet_w48.ms_in1k")
    done = at_hub("http://127.0.0.1:9", tmp_path, "download", *names, "-q", HF_HUB_OFFLINE="1")
    assert [line.split()[0] for line in done.lines] == ["hf-segformer-b1-ade20k-512", "The", "Next:"]
    assert done.fails(3).count("HF_HUB_OFFLINE is set") == 2
    assert str(tmp_path / "hf") in done.lines[0]
