"""Prepared splits: the same pixels as the files, never stale ones, and no more memory than is looked at."""

import importlib
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segbench.core.registry import implementation, is_registered
from segbench.core.spec import DataSpec
from segbench.data.open import open_dataset
from segbench.data.prepared import cache, prepare, space
from segbench.data.prepared.cache import Split
from segbench.data.prepared.headers import header_size
from tests.data.camvid_tree import places, png
from tests.data.observing import Seen
from tests.data.sized_tree import SIZES, change_image, left_behind, same, split_of, streamed, write_pair

OFFICIAL = sorted(
    path.stem
    for path in (Path(__file__).parent / "official").glob("*.py")
    if is_registered("dataset", path.stem.replace("_", "-"))
)


# What is prepared is what is in the files.


@pytest.mark.parametrize(
    "how", [{}, {"scale": 0.5}, {"scale": 1.7}, {"size": (20, 26)}, {"size": (20, 26), "resize": "lanczos"}]
)
def test_pixels_are_those_of_the_files(root: Path, how: dict[str, object]) -> None:
    prepared = prepare.prepare(split_of(root, **how), workers=3)
    assert same(prepared, streamed(root, **how))
    if not how:
        assert [prepared.read(index)[1].shape for index in range(6)] == SIZES
    assert prepared.broken() == []


@pytest.mark.parametrize("module", OFFICIAL)
def test_every_data_set_as_it_is_published(module: str, tmp_path: Path) -> None:
    tiny, name = importlib.import_module(f"tests.data.official.{module}"), module.replace("_", "-")
    folder, options = tiny.write_tree(tmp_path / name), tiny.tiny_options()
    getattr(implementation("dataset", name, "reader"), "finish", lambda folder: None)(folder)
    for table in (options.table, *options.variants):
        for split in options.splits:
            spec = DataSpec(name=name, splits=(split,), classes=table)
            files = open_dataset(spec, root=tmp_path, cache="off", options=options)
            made = open_dataset(spec, root=tmp_path, cache="make", options=options)
            assert same(made, files)
            assert np.shares_memory(made.read(0)[0], open_dataset(spec, root=tmp_path, options=options).read(0)[0])


def test_arrays_are_read_only_views_of_one_map(root: Path, decoded: list[str]) -> None:
    prepare.prepare(split_of(root))
    decoded.clear()
    first, second = (open_dataset(DataSpec(name="camvid"), root=root) for _ in range(2))
    assert np.shares_memory(first.read(1)[0], second.read(1)[0])
    for array in first.read(1):
        assert not array.flags.writeable
        assert type(array) is np.ndarray
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
    assert decoded == []


def test_every_scale_and_table_has_its_own(root: Path) -> None:
    splits = [split_of(root), split_of(root, scale=0.5), split_of(root, size=(20, 26))]
    for split in splits:
        prepare.prepare(split)
    assert len({split.place for split in splits}) == 3
    assert all(cache.find(split)[0] is not None for split in splits)


# Whatever changes, what is stale is never taken.


def change_label(root: Path) -> None:
    label = places(root / "camvid", "train")[1] / "a_00002.png"
    label.write_bytes(png(np.full(SIZES[2], 3, np.uint8)))


def touch_label(root: Path) -> None:
    label = places(root / "camvid", "train")[1] / "a_00002.png"
    os.utime(label, ns=(1, 1))


def add_pair(root: Path) -> None:
    write_pair(root, 9, (12, 12))


def remove_pair(root: Path) -> None:
    for folder in places(root / "camvid", "train"):
        (folder / "a_00003.png").unlink()


@pytest.mark.parametrize("change", [change_image, change_label, touch_label, add_pair, remove_pair])
def test_changed_files_are_prepared_again(root: Path, change: Callable[[Path], None], decoded: list[str]) -> None:
    old = prepare.prepare(split_of(root))
    before = [array.copy() for array in old.read(1)]
    change(root)
    split = split_of(root)
    found, why = cache.find(split)
    assert found is None and ("changed" in why or "come or gone" in why)
    seen = Seen()
    used = open_dataset(DataSpec(name="camvid"), root=root, observer=seen)
    assert same(used, streamed(root)) and why in seen.notes[0]
    decoded.clear()
    made = open_dataset(DataSpec(name="camvid"), root=root, cache="make", observer=seen)
    assert len(decoded) == len(made)
    assert same(made, streamed(root)) and "is prepared again" in seen.notes[1]
    assert len(left_behind(split)) == 2, "the old one is gone"
    assert all(np.array_equal(*pair) for pair in zip(before, old.read(1), strict=True)), "whoever has it open goes on"


def other_values(split: Split) -> Split:
    values = tuple((value, 0 if value == 3 else train_id) for value, train_id in split.table.values)
    return replace(split, table=replace(split.table, values=values))


def test_another_class_table_or_code_or_format_is_prepared_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = split_of(root)
    prepare.prepare(split)
    assert cache.find(other_values(split))[0] is None
    assert cache.find(replace(split, described="values: ..."))[0] is None
    with monkeypatch.context() as patch:
        patch.setattr(cache, "FORMAT", cache.FORMAT + 1)
        assert cache.find(split)[0] is None
    with monkeypatch.context() as patch:
        patch.setattr(split.decoder, "code", lambda: "other")
        assert cache.find(split)[0] is None
    assert cache.find(split)[0] is not None


def cut_pixels(pixels: Path) -> None:
    with pixels.open("r+b") as file:
        file.truncate(pixels.stat().st_size - 100)


def tear_end(pixels: Path) -> None:
    """As a disk leaves it that wrote the last pages before a power cut, but not the ones before."""
    data = bytearray(pixels.read_bytes())
    data[-60:-40] = bytes(20)
    pixels.write_bytes(data)


def lose_trailer(pixels: Path) -> None:
    pixels.write_bytes(pixels.read_bytes()[:-32] + bytes(32))


def lose_pixels(pixels: Path) -> None:
    pixels.unlink()


def cut_index(pixels: Path) -> None:
    index = pixels.with_name(cache.INDEX)
    index.write_bytes(b"\n".join(index.read_bytes().split(b"\n")[:-2]) + b"\n")


def change_index(pixels: Path) -> None:
    index = pixels.with_name(cache.INDEX)
    index.write_bytes(index.read_bytes().replace(b"[24,32,", b"[32,24,").replace(b",24,32,", b",32,24,"))


def empty_index(pixels: Path) -> None:
    pixels.with_name(cache.INDEX).write_bytes(b"")


def strange_index(pixels: Path) -> None:
    pixels.with_name(cache.INDEX).write_bytes(b'{"id": "x"}\n[1, 2]\n\xff\n{}\n')


@pytest.mark.parametrize(
    "damage",
    [cut_pixels, tear_end, lose_trailer, lose_pixels, cut_index, change_index, empty_index, strange_index],
)
def test_damage_is_found_and_mended(root: Path, damage: Callable[[Path], None]) -> None:
    split = split_of(root)
    damage(prepare.prepare(split).pixels)
    found, why = cache.find(split)
    assert found is None and why
    assert same(open_dataset(DataSpec(name="camvid"), root=root, cache="make"), streamed(root))
    assert cache.find(split)[0] is not None


def test_one_flipped_bit_is_found_when_asked_for(root: Path) -> None:
    prepared = prepare.prepare(split_of(root))
    data = bytearray(prepared.pixels.read_bytes())
    data[4 * 24 * 32 + 5] ^= 1
    prepared.pixels.write_bytes(data)
    assert prepared.broken() == ["train/a_00001"]


# What it takes of the machine.


def test_remove_frees_all_and_stops_nobody(root: Path) -> None:
    small, prepared = prepare.prepare(split_of(root, scale=0.5)), prepare.prepare(split_of(root))
    size = sum(path.stat().st_size for path in cache.prepared_root("camvid").rglob("*") if path.is_file())
    assert space.remove("camvid", ("val",)) == 0
    assert space.remove("camvid") == size > small.bytes + prepared.bytes
    assert cache.find(split_of(root))[0] is None
    assert same(prepared, streamed(root))
    assert space.remove("camvid") == 0


def test_same_split_of_a_folder_that_is_gone_is_removed(root: Path, tmp_path: Path) -> None:
    prepare.prepare(split_of(root, scale=0.5))
    prepare.prepare(split_of(root))
    moved = tmp_path / "elsewhere"
    root.rename(moved)
    prepare.prepare(split_of(moved))
    found = [path.parent.name for path in cache.prepared_root("camvid").glob(f"*/{cache.INDEX}")]
    assert len(found) == 2, "the other scale stays"
    assert split_of(moved).place.name in found


def test_another_process_maps_it_anew(root: Path) -> None:
    dataset = open_dataset(DataSpec(name="camvid"), root=root, cache="make")
    sent = pickle.dumps(dataset)
    assert len(sent) < 8000
    assert same(pickle.loads(sent), streamed(root))
    assert same(pickle.loads(pickle.dumps(streamed(root))), streamed(root))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_shares_the_map(root: Path) -> None:
    dataset = open_dataset(DataSpec(name="camvid"), root=root, cache="make")
    expected = int(dataset.read(3)[0].sum())
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(int(dataset.read(3)[0].sum())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reader, 100)) == expected


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the kernel does not tell what is mapped in")
def test_one_map_a_file_and_none_when_nobody_looks(root: Path) -> None:
    pixels = str(prepare.prepare(split_of(root)).pixels)

    def maps() -> int:
        return Path("/proc/self/maps").read_text().count(pixels)

    assert maps() == 0
    files = len(list(Path("/proc/self/fd").iterdir()))
    opened = [open_dataset(DataSpec(name="camvid"), root=root) for _ in range(20)]
    assert maps() == 1 and len(list(Path("/proc/self/fd").iterdir())) <= files + 1
    view = opened[0].read(0)[0]
    opened.clear()
    assert maps() == 1
    assert view.sum() > 0
    del view
    assert maps() == 0


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_header_says_the_size(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, np.zeros((37, 1021, 3), np.uint8))[1].tobytes())
    assert header_size(path) == (37, 1021)
    if suffix == ".jpg":  # with a thumbnail, as cameras write it, before the picture's own size
        data = path.read_bytes()
        note = b"\xff\xe1" + (65_000).to_bytes(2) + bytes(64_998)
        path.write_bytes(data[:2] + note + note + b"\xff" + data[2:])
        assert header_size(path) == (37, 1021)
    path.write_bytes(path.read_bytes()[:9])
    assert header_size(path) is None
    assert header_size(tmp_path / "none.png") is None
    (tmp_path / "other.bmp").write_bytes(b"BM" + bytes(60))
    assert header_size(tmp_path / "other.bmp") is None
