"""``segbench data prepare``, and what reproducing says and makes of prepared images."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from segbench.core.spec import DataSpec
from segbench.data.handle import find_dataset
from segbench.data.open import list_splits
from segbench.data.prepared import cache, decode, prepare, space
from segbench.data.prepared.cache import Prepared
from segbench.results.store import Store
from tests.data.camvid_tree import packed, places, write_tree
from tests.program import ROW, segbench

SMALL = ("--dataset", "camvid", "--budget", "small")
SETTINGS = {"schedule.steps": 2, "schedule.validate_every": 2, "schedule.batch_total": 2, "schedule.crop": "[32, 32]"}
SETS = [word for path, value in SETTINGS.items() for word in ("--set", f"{path}={value}")]
Usage = namedtuple("Usage", "total used free")


def found(root: Path, split: str, *, scale: float = 1.0) -> Prepared | None:
    (wanted,) = list_splits(find_dataset("camvid", root), DataSpec(name="camvid", splits=(split,), scale=scale))
    return cache.find(wanted)[0]


def test_prepare_says_what_it_will_do_and_what_it_did(camvid: Path) -> None:
    done = segbench("data", "prepare", "camvid", "--data-root", camvid)
    assert done.code == 0, done.err
    assert "camvid train: 5 images" in done.err and "camvid test: 3 images" in done.err
    assert "are free" in done.err
    assert done.out.splitlines() == [
        " ok  train: 5 images, 1 MB",
        " ok  val: 2 images, 1 MB",
        " ok  test: 3 images, 1 MB",
        "Next: segbench list",
    ]
    assert all(found(camvid, split) for split in ("train", "val", "test"))
    again = segbench("data", "prepare", "camvid", "--data-root", camvid, "--quiet")
    assert again.err == ""
    assert again.out.splitlines()[0] == " ok  train: 5 images, 1 MB, prepared before: every checksum matches"


def test_choice_and_json(camvid: Path) -> None:
    words = ["data", "prepare", "camvid", "--data-root", camvid, "--split", "val", "--scale", "0.5", "--json"]
    answer = segbench(*words).json
    assert (answer["schema"], answer["dataset"], answer["folder"]) == (1, "camvid", str(camvid / "camvid"))
    (split,) = answer["splits"]
    prepared = found(camvid, "val", scale=0.5)
    assert prepared is not None and split.pop("folder") == str(prepared.pixels.parent)
    assert split.pop("bytes") == 2 * 4 * 24 * 32
    assert split == {"split": "val", "classes": "camvid", "scale": 0.5, "images": 2, "prepared_before": False}
    assert segbench(*words).json["splits"][0]["prepared_before"] is True
    assert found(camvid, "val") is None and found(camvid, "train", scale=0.5) is None


def test_damage_is_mended(camvid: Path) -> None:
    segbench("data", "prepare", "camvid", "--data-root", camvid)
    prepared = found(camvid, "train")
    assert prepared is not None
    data = bytearray(prepared.pixels.read_bytes())
    data[100] ^= 1
    prepared.pixels.write_bytes(data)
    done = segbench("data", "prepare", "camvid", "--data-root", camvid)
    assert "camvid train is prepared again: 1 image found damaged." in done.err
    assert done.out.splitlines()[0] == " ok  train: 5 images, 1 MB"
    mended = found(camvid, "train")
    assert mended is not None and mended.broken() == []


def test_redo_decodes_again(camvid: Path) -> None:
    segbench("data", "prepare", "camvid", "--data-root", camvid)
    before = found(camvid, "train")
    segbench("data", "prepare", "camvid", "--data-root", camvid, "--redo")
    after = found(camvid, "train")
    assert before is not None and after is not None and before.pixels != after.pixels
    assert not before.pixels.exists()


def test_remove(camvid: Path) -> None:
    segbench("data", "prepare", "camvid", "--data-root", camvid)
    some = segbench("data", "prepare", "camvid", "--remove", "--split", "val", "--json").json
    assert some["freed_bytes"] > 2 * 4 * 48 * 64
    assert found(camvid, "val") is None and found(camvid, "train") is not None
    assert "MB freed." in segbench("data", "prepare", "camvid", "--remove").out
    assert found(camvid, "train") is None
    assert (camvid / "camvid").is_dir()
    none = segbench("data", "prepare", "camvid", "--remove")
    assert none.out.startswith("Nothing of camvid is prepared.") and none.code == 0


def test_refusals(camvid: Path, tmp_path: Path) -> None:
    words = ["data", "prepare", "camvid", "--data-root", camvid]
    assert "no split 'dev'" in segbench(*words, "--split", "dev").fails(2)
    assert "does not fit" in segbench(*words, "--classes", "cityscapes").fails(4)
    assert "--remove cannot be combined with" in segbench(*words, "--remove", "--redo").fails(2)
    assert "No dataset 'camvit'" in segbench("data", "prepare", "camvit").fails(2)
    absent = segbench("data", "prepare", "camvid", "--data-root", tmp_path / "nowhere").fails(3)
    assert "Next: segbench data download camvid" in absent
    (places(camvid / "camvid", "train")[1] / "seq_00002.png").unlink()
    assert "seq_00002.png: is missing" in segbench(*words).fails(3)


def test_broken_image_is_named(camvid: Path) -> None:
    (places(camvid / "camvid", "train")[0] / "seq_00003.png").write_bytes(b"no image")
    text = segbench("data", "prepare", "camvid", "--data-root", camvid).fails(3)
    assert "seq_00003.png" in text and "Next: segbench data verify" in text
    assert found(camvid, "val") is None


def test_no_room(camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**12, 10**12, space.SPARE_BYTES + 10_000))
    text = segbench("data", "prepare", "camvid", "--data-root", camvid).fails(5)
    assert "There is no room" in text and "SEGBENCH_CACHE" in text
    one = segbench("reproduce", ROW, *SMALL, *SETS, "--dry-run", "--data-root", camvid)
    assert "is decoded whenever it is used; there is no room" in " ".join(one.out.split())


def test_ctrl_c_keeps_what_is_done(camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, calls = decode.Decoder.read, []

    def interrupted(decoder: decode.Decoder, pair: object) -> object:
        calls.append(pair)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return read(decoder, pair)  # type: ignore[arg-type]

    words = ["data", "prepare", "camvid", "--data-root", camvid, "--split", "train"]
    with monkeypatch.context() as patch:
        patch.setattr(decode.Decoder, "read", interrupted)
        patch.setattr(prepare.os, "cpu_count", lambda: 1)
        assert segbench(*words).code == 130
    done = segbench(*words)
    assert "3 of 5 images were prepared before." in done.err
    assert done.code == 0


def test_from_an_archive(tmp_path: Path, camvid: Path) -> None:
    from segbench.data.facts import facts

    (archive,) = facts("camvid").archives
    path = tmp_path / archive.name
    path.write_bytes(packed(write_tree(tmp_path / "source", layout="segnet", size=(48, 64))))
    root = tmp_path / "elsewhere"
    root.mkdir()
    done = segbench("data", "prepare", "camvid", "--data-root", root, "--from", path)
    assert done.code == 0, done.err
    assert " ok  train: 5 images" in done.out
    assert found(root, "train") is not None


def test_what_a_data_set_has_left_to_do_is_done_first(camvid: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = []
    finish = lambda folder, *, progress: (progress(1), finished.append(folder))  # noqa: E731
    monkeypatch.setattr("segbench.data.sets.camvid.reader.finish", finish, raising=False)
    assert segbench("data", "prepare", "camvid", "--data-root", camvid).code == 0
    assert finished == [camvid / "camvid"]


def test_reproduce_prepares_and_no_number_depends_on_it(camvid: Path, tmp_path: Path) -> None:
    words = ["reproduce", ROW, *SMALL, *SETS, "--data-root", camvid]
    plan = segbench(*words, "--dry-run", "--json", "--out", tmp_path / "a").json
    (made,) = plan["prepares"]
    scale = made.pop("scale")
    assert made == {"dataset": "camvid", "split": "train", "bytes": 5 * 4 * round(48 * scale) * round(64 * scale),
                    "fits": True}  # fmt: skip
    text = " ".join(segbench(*words, "--dry-run", "--out", tmp_path / "a").out.split())
    assert "is decoded once, 0.0 GB in " in text
    assert found(camvid, "train", scale=scale) is None
    plain = segbench(*words, "--out", tmp_path / "a", "--no-cache")
    assert plain.code == 0, plain.err
    assert not cache.prepared_root("camvid").exists()
    prepared = segbench(*words, "--out", tmp_path / "b")
    assert prepared.code == 0, prepared.err
    assert found(camvid, "train", scale=scale) is not None
    (one,), (other,) = Store(tmp_path / "a").records(), Store(tmp_path / "b").records()
    assert one.figures == other.figures and one.validation["curve"] == other.validation["curve"]
    assert segbench(*words, "--dry-run", "--json", "--out", tmp_path / "c").json["prepares"] == []
    (weights,) = (tmp_path / "b").glob("trainings/*/last.safetensors")
    scored = ["eval", "--checkpoint", weights, "--split", "test", "--data-root", camvid, "--json"]
    segbench("data", "prepare", "camvid", "--split", "test", "--scale", scale, "--data-root", camvid)
    figures = [segbench(*scored, "--out", tmp_path / "d", *more).json["figures"] for more in ((), ("--no-cache",))]
    assert figures[0] == figures[1]
