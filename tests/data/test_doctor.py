"""The doctor: every kind of fault is found, said with its fix, and nothing that is whole is called faulty."""

import json
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segbench.core.errors import MissingFault, UsageFault
from segbench.data.classes import class_table
from segbench.data.doctor import pixels
from segbench.data.doctor.case import Case
from segbench.data.doctor.diagnose import diagnose
from segbench.data.doctor.report import LINES_PER_KIND, Report, shorten, spans
from segbench.data.sets.camvid.options import Options
from segbench.data.verify import verify
from tests.data.camvid_tree import COUNTS, SIZE, arrays, places, png, tree_options, write_tree
from tests.waiting import PATIENCE

AGAIN = "segbench data download camvid --replace"


def look(root: Path, *, options: Options | None = None, splits: tuple[str, ...] | None = None, **more: bool) -> Report:
    return diagnose("camvid", root, options=options or tree_options(), splits=splits, **more)


def kinds(report: Report) -> Counter[str]:
    return Counter(finding.kind for finding in report.faults)


def pair(root: Path, split: str = "train", number: int = 1) -> tuple[Path, Path]:
    images, labels = places(root / "camvid", split)
    return images / f"seq_{number:05d}.png", labels / f"seq_{number:05d}.png"


def relabel(root: Path, change: Callable[[np.ndarray], np.ndarray], *, splits: tuple[str, ...] = tuple(COUNTS)) -> None:
    """Write all labels of some splits anew with changed values."""
    for split in splits:
        for number in range(COUNTS[split]):
            pair(root, split, number)[1].write_bytes(png(change(arrays(split, number)[1])))


def test_counts_are_those_of_a_slow_count(tree: Path) -> None:
    report = look(tree)
    assert not report.faults
    assert [part.split for part in report.splits] == list(COUNTS)
    for part in report.splits:
        raw, with_class, ignored = Counter[int](), Counter[int](), 0
        for number in range(COUNTS[part.split]):
            values = arrays(part.split, number)[1].ravel().tolist()
            raw.update(values)
            with_class.update(set(values))
            ignored += values.count(11)
        assert part.tally.raw.dtype == np.int64
        assert {value: int(part.tally.raw[value]) for value in part.tally.values} == dict(raw)
        classes, unscored, outside = part.tally.mapped(report.table)
        assert classes.tolist() == [raw[value] for value in range(11)]
        assert (unscored, outside) == (ignored, 0)
        assert part.tally.images_with.tolist() == [with_class[value] for value in range(11)]
        assert (part.tally.heights, part.tally.widths) == ((SIZE[0],) * 2, (SIZE[1],) * 2)
        assert part.tally.image_kinds == {"RGB 8-bit PNG": COUNTS[part.split]}
        assert part.tally.label_kinds == {"grey 8-bit PNG": COUNTS[part.split]}


def test_json_holds_it_all(tree: Path) -> None:
    report = look(tree)
    data = json.loads(json.dumps(report.as_json()))
    assert (data["schema"], data["ok"], data["dataset"], data["class_table"]) == (2, True, "camvid", "camvid")
    val = data["splits"]["val"]
    assert sum(val["raw"].values()) == val["pixels"] == 2 * SIZE[0] * SIZE[1]
    assert list(val["classes"]) == list(report.table.names)
    assert sum(val["classes"].values()) + val["ignored"] + val["outside"] == val["pixels"]
    assert val["labels_with"]["sky"] == 2
    assert {finding["level"] for finding in data["findings"]} == {"ok"}


def test_what_is_whole_is_said(tree: Path) -> None:
    texts = [finding.text for finding in look(tree).findings]
    assert texts[0] == "5 train, 2 val and 3 test images, every label is there"
    assert texts[1] == "every file can be read: images of 24x32, RGB 8-bit PNG; labels grey 8-bit PNG"
    assert texts[2].startswith("labels hold 0..11: all 11 classes occur, 11 ignored (8.")


def sixteen_bits(path: Path, raw: np.ndarray) -> None:
    path.write_bytes(cv2.imencode(".png", raw.astype(np.uint16))[1].tobytes())


def palette(path: Path, raw: np.ndarray) -> None:
    picture = Image.fromarray(raw, "P")
    picture.putpalette([value for colour in range(256) for value in (colour, 255 - colour, 7)])
    picture.save(path)


def four_bits(path: Path, raw: np.ndarray) -> None:
    """A grey PNG of 4 bits, which every decoder stretches: 11 becomes 187."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", raw.shape[1], raw.shape[0], 4, 0, 0, 0, 0)
    rows = b"".join(b"\0" + bytes(row[::2] << 4 | row[1::2]) for row in raw)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def stray_value(path: Path, raw: np.ndarray) -> None:
    raw = raw.copy()
    raw[3, 4], raw[5, 6] = 12, 200
    path.write_bytes(png(raw))


BAD_LABELS: dict[str, tuple[Callable[[Path, np.ndarray], object], str, str]] = {
    "missing": (lambda path, raw: path.unlink(), "no label", "this label is missing"),
    "empty": (lambda path, raw: path.write_bytes(b""), "broken label", "is empty"),
    "cut off": (lambda path, raw: path.write_bytes(png(raw)[:-20]), "broken label", "is cut off"),
    "no image": (lambda path, raw: path.write_bytes(b"<html>not found</html>"), "broken label", "is not a PNG file"),
    "16 bits": (sixteen_bits, "label format", "16 bits"),
    "4 bits": (four_bits, "label format", "grey 4-bit PNG"),
    "palette": (palette, "label format", "palette"),
    "colour": (lambda path, raw: path.write_bytes(png(np.stack([raw] * 3, -1))), "label format", "colour"),
    "another size": (lambda path, raw: path.write_bytes(png(raw[:-1])), "sizes", "is 23x32 but its image 24x32"),
    "rotated": (lambda path, raw: path.write_bytes(png(raw.T)), "sizes", "(one of them is rotated)"),
    "foreign value": (stray_value, "values", "has label values 12, 200; allowed are 0..11."),
}


@pytest.mark.parametrize("case", BAD_LABELS)
def test_every_fault_of_a_label(tree: Path, case: str) -> None:
    spoil, kind, words = BAD_LABELS[case]
    path = pair(tree)[1]
    spoil(path, arrays("train", 1)[1])
    report = look(tree)
    assert kinds(report) == {kind: 1}
    assert str(path) in report.faults[0].text
    assert words in report.faults[0].text
    assert report.faults[0].fix == AGAIN
    assert not look(tree, splits=("val", "test")).faults, "other splits have nothing to do with it"
    readable = any(finding.text.startswith("every file can be read") for finding in report.of_level("ok"))
    assert readable == (kind in ("no label", "sizes", "values"))
    with pytest.raises(MissingFault) as caught:
        verify("camvid", tree, options=tree_options())
    assert caught.value.faults == (report.faults[0].text,)
    assert caught.value.next == AGAIN


BAD_IMAGES: dict[str, tuple[Callable[[Path, np.ndarray], object], str, str]] = {
    "missing": (lambda path, rgb: path.unlink(), "no image", "this image is missing"),
    "empty": (lambda path, rgb: path.write_bytes(b""), "broken image", "is empty"),
    "cut off": (lambda path, rgb: path.write_bytes(png(rgb)[:1000]), "broken image", "is cut off"),
    "a JPEG by another name": (
        lambda path, rgb: path.write_bytes(cv2.imencode(".jpg", rgb)[1].tobytes()),
        "broken image",
        "is not a PNG file",
    ),
    "another size": (
        lambda path, rgb: path.write_bytes(png(rgb[:20])),
        "size",
        "is 20x32; this copy of CamVid has 24x32",
    ),
}


@pytest.mark.parametrize("case", BAD_IMAGES)
def test_every_fault_of_an_image(tree: Path, case: str) -> None:
    spoil, kind, words = BAD_IMAGES[case]
    path = pair(tree)[0]
    spoil(path, arrays("train", 1)[0])
    report = look(tree)
    assert kinds(report)[kind] == 1
    assert set(kinds(report)) <= {kind, "sizes"}
    first = next(finding for finding in report.faults if finding.kind == kind)
    assert str(path) in first.text and words in first.text and first.fix == AGAIN


def test_the_same_file_cut_off_anywhere_is_never_whole(tree: Path) -> None:
    path = pair(tree)[0]
    data = path.read_bytes()
    for length in range(0, len(data), len(data) // 12):
        path.write_bytes(data[:length])
        assert kinds(look(tree)) == {"broken image": 1}


def test_another_count(tree: Path) -> None:
    options = tree_options({"train": 6, "val": 2, "test": 3})
    report = look(tree, options=options)
    assert [fault.text for fault in report.faults] == ["CamVid train has 5 images, there should be 6."]
    either = options.model_copy(update={"splits": {**options.splits, "train": (6, 5)}})
    report = look(tree, options=either)
    assert not report.faults
    (note,) = report.of_level("note")
    assert note.text == "train has 5 images, a number that is also in use; officially there are 6."
    exact = options.model_copy(update={"splits": {**options.splits, "train": (5, 6)}})
    assert not look(tree, options=exact).of_level("note")


def test_an_empty_split(tree: Path) -> None:
    for folder in places(tree / "camvid", "val"):
        shutil.rmtree(folder)
    report = look(tree)
    assert [fault.text for fault in report.faults] == ["CamVid val has 0 images, there should be 2."]
    assert "5 train and 3 test images" in report.findings[0].text, "the others are counted all the same"
    assert not look(tree, splits=("train",)).faults


def test_optional_splits_may_be_absent_but_not_half(tree: Path) -> None:
    options = tree_options().model_copy(update={"optional": ("test",)})
    images, labels = places(tree / "camvid", "test")
    (labels / "seq_00001.png").unlink()
    assert kinds(look(tree, options=options)) == {"no label": 1}
    shutil.rmtree(images)
    shutil.rmtree(labels)
    report = look(tree, options=options)
    assert not report.faults
    assert [note.text for note in report.of_level("note")] == [
        "test is not here (3 images); CamVid is complete without it."
    ]
    assert kinds(look(tree, options=options, splits=("test",))) == {"count": 1}, "asked for, it must be there"


def test_secret_labels_are_not_looked_at(tree: Path) -> None:
    options = tree_options().model_copy(update={"secret": ("test",)})
    for number in range(3):
        pair(tree, "test", number)[1].write_bytes(b"a dummy")
    report = look(tree, options=options)
    assert not report.faults
    assert report.findings[0].text.endswith("every label is there but those of test, which are secret")
    (test,) = (part for part in report.splits if part.split == "test")
    assert (test.tally.images, test.tally.labels, test.tally.pixels) == (3, 0, 0)
    pair(tree, "test", 0)[0].write_bytes(b"")
    assert kinds(look(tree, options=options)) == {"broken image": 1}


NUMBERINGS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "off by one": (lambda raw: raw + 1, "the values of class table camvid raised by one"),
    "train ids": (lambda raw: np.where(raw == 11, 255, raw).astype(np.uint8), "(0..10, 255 ignored)"),
    "subtracted once too often": (lambda raw: raw - 1, "lowered by one"),
}


@pytest.mark.parametrize("case", NUMBERINGS)
def test_another_numbering_is_one_fault_and_named(tree: Path, case: str) -> None:
    change, words = NUMBERINGS[case]
    relabel(tree, change)
    (fault,) = look(tree).faults
    assert (fault.kind, fault.fix) == ("numbering", AGAIN)
    assert words in fault.text and fault.text.startswith("The labels of train, val, test look like ")
    assert look(tree, splits=("val",)).faults[0].text.startswith("The labels of val look like ")


def test_one_split_in_another_numbering(tree: Path) -> None:
    relabel(tree, lambda raw: np.where(raw == 11, 255, raw).astype(np.uint8), splits=("val",))
    (fault,) = look(tree).faults
    assert fault.text == (
        "The labels of val look like train ids of class table camvid (0..10, 255 ignored), or the values of class "
        "table camvid lowered by one (0 became 255): they hold 0..10, 255; the label files of CamVid hold 0..11."
    )


def test_a_class_that_is_in_no_label(tree: Path) -> None:
    relabel(tree, lambda raw: np.where(raw == 6, 0, raw).astype(np.uint8))
    (fault,) = look(tree).faults
    assert fault.kind == "absent"
    assert fault.text.startswith("No label contains sign symbol: ")
    note = look(tree, splits=("val",)).of_level("note")[0]
    assert note.text == "no examined label contains sign symbol."


def test_a_class_that_one_split_lacks(tree: Path) -> None:
    relabel(tree, lambda raw: np.where((raw == 6) | (raw == 9), 0, raw).astype(np.uint8), splits=("val",))
    report = look(tree)
    assert not report.faults
    assert [note.text for note in report.of_level("note")] == [
        "no label of val contains sign symbol, pedestrian: no IoU of it can be measured there."
    ]


def test_a_picture_of_val_within_train(tree: Path) -> None:
    shutil.copy(pair(tree, "val", 0)[0], pair(tree, "train", 4)[0])
    (fault,) = look(tree).faults
    assert (fault.kind, fault.fix) == ("leak", AGAIN)
    assert str(pair(tree, "val", 0)[0]) in fault.text and str(pair(tree, "train", 4)[0]) in fault.text
    assert kinds(look(tree)) == {"leak": 1}, "a leak is not remembered as whole"


def test_a_list_that_takes_a_picture_of_val_into_train(tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "camvid", layout="segnet")
    for part in ("val", "valannot"):
        shutil.rmtree(folder / part)
        (folder / part).symlink_to(folder / part.replace("val", "train"))
    report = look(tmp_path)
    assert kinds(report)["leak"] == COUNTS["val"], "the same bytes behind two names"


def test_neighbours_of_a_split_name_may_share() -> None:
    from segbench.data.doctor.listing import Listing, split_pairs

    splits = [Listing(name, (), {}) for name in ("train", "val", "trainval", "trainaug", "train_extra", "test")]
    kept_apart = {(first.split, second.split) for first, second in split_pairs(splits)}
    assert kept_apart == {
        ("train", "val"), ("train", "test"), ("val", "trainaug"), ("val", "train_extra"), ("val", "test"),
        ("trainval", "test"), ("trainaug", "test"), ("train_extra", "test"),
    }  # fmt: skip


def test_what_publishers_hold_twice_is_a_note(tmp_path: Path) -> None:
    from segbench.data.doctor.duplicates import duplicate_images
    from segbench.data.doctor.listing import Listing
    from segbench.data.reader import Pair

    def listing(split: str, contents: list[bytes]) -> Listing:
        (tmp_path / split).mkdir()
        stats, pairs = {}, []
        for number, content in enumerate(contents):
            path = tmp_path / split / f"{split}_{number}.png"
            path.write_bytes(content)
            stats[path] = len(content), 0
            pairs.append(Pair(f"{split}/{number}", path, None))
        return Listing(split, tuple(pairs), stats)

    case = Case("camvid", tmp_path, tree_options(), class_table("camvid"))
    train = listing("train", [b"%06d" % number for number in range(400)])
    val = listing("val", [b"1%05d" % number for number in range(199)] + [b"000007"])
    assert [finding.level for finding in duplicate_images([train, val], case)] == ["note"]
    (tmp_path / "val" / "val_0.png").write_bytes(b"000008")
    assert [finding.level for finding in duplicate_images([train, val], case)] == ["fault", "fault"]


def test_five_of_a_kind_then_their_number(tmp_path: Path) -> None:
    counts = {"train": 9, "val": 2, "test": 3}
    write_tree(tmp_path / "camvid", counts=counts)
    for number in range(9):
        pair(tmp_path, number=number)[1].unlink()
    pair(tmp_path, "val", 0)[0].write_bytes(b"")
    report = look(tmp_path, options=tree_options(counts))
    assert kinds(report) == {"no label": 9, "broken image": 1}
    lines = shorten(report.faults)
    assert len(lines) == LINES_PER_KIND + 1 + 1
    assert lines[LINES_PER_KIND].text == "... and 4 more of this kind (no label)."


def test_strangers_among_the_data_are_notes(tree: Path) -> None:
    images, _ = places(tree / "camvid", "train")
    (images / "._seq_00000.png").write_bytes(b"\0\5\x16\7")
    (images / "notes.txt").write_text("")
    (tree / "camvid" / "Thumbs.db").write_bytes(b"1")
    report = look(tree)
    assert not report.faults
    texts = [note.text for note in report.of_level("note")]
    assert any(text.startswith("2 hidden files among the data") for text in texts)
    assert any(text.startswith("1 empty file among the data") and "notes.txt" in text for text in texts)


def test_nothing_is_written_to_the_data(tree: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    look(tree)
    assert {path: path.stat().st_mtime_ns for path in tree.rglob("*")} == before


def test_verify_is_yes_or_an_error(tree: Path) -> None:
    notes = ("Test is easy.",)
    found = verify("camvid", tree, options=tree_options().model_copy(update={"notes": notes}))
    assert (found.folder, found.notes, found.remembered) == (tree / "camvid", notes, False)
    assert found.lines[0] == "5 train, 2 val and 3 test images, every label is there"
    pair(tree, "test", 2)[0].unlink()
    assert verify("camvid", tree, splits=("train", "val"), options=tree_options()).lines
    with pytest.raises(MissingFault, match="this image is missing"):
        verify("camvid", tree, splits=("test",), options=tree_options())


# The verification cache.


def read(root: Path, **more: object) -> int:
    """Number of pairs that an examination reads."""
    done = [0]
    diagnose("camvid", root, **{"options": tree_options(), "progress": lambda now, _: done.append(now), **more})  # type: ignore[arg-type]
    return done[-1]


PAIRS = sum(COUNTS.values())


def test_nothing_is_decoded_twice(tree: Path) -> None:
    first = look(tree)
    assert read(tree) == 0
    again = look(tree)
    assert (first.remembered, again.remembered) == (False, True)
    assert {**again.as_json(), "remembered": False} == first.as_json(), "histograms and all"
    assert not look(tree, redo=True).remembered
    assert read(tree, redo=True) == PAIRS


def test_only_what_changed_is_decoded_again(tree: Path) -> None:
    look(tree)
    image, label = pair(tree, "val", 0)
    changes: list[tuple[Callable[[], object], int]] = [
        (lambda: os.utime(image), 2),
        (lambda: label.write_bytes(png(arrays("val", 1)[1])), 2),
        (lambda: image.rename(image.with_name("seq_00007.png")), 1),
        (lambda: label.rename(label.with_name("seq_00007.png")), 2),
    ]
    for change, pairs in changes:
        change()
        assert read(tree) == pairs
    assert read(tree, options=tree_options().model_copy(update={"native_size": None})) == PAIRS


def test_splits_are_cached_one_by_one(tree: Path) -> None:
    assert read(tree, splits=("val",)) == COUNTS["val"]
    pair(tree, "train", 0)[1].write_bytes(b"")
    assert read(tree) == COUNTS["train"] + COUNTS["test"]
    assert read(tree) == COUNTS["train"], "a split with a fault is read again, the others are not"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"splits": {"val": 3}}', '{"splits": {}, "across": {"val": {}}}'])
def test_a_damaged_cache_is_ignored(tree: Path, text: str) -> None:
    look(tree)
    (path,) = (Path(os.environ["SEGBENCH_CACHE"]) / "verified").iterdir()
    path.write_text(text)
    assert read(tree) == PAIRS
    assert look(tree).remembered


def test_progress_counts_what_is_read(tree: Path) -> None:
    seen: list[tuple[int, int]] = []
    diagnose("camvid", tree, options=tree_options(), splits=("val",), progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]


def test_a_caller_that_stops_leaves_no_thread_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 60, "val": 2, "test": 3}
    write_tree(tmp_path / "camvid", counts=counts, size=(8, 8))
    seen: list[str] = []
    whole, cancelled, threads = pixels.examine_pair, threading.Event(), threading.active_count()

    def gated(pair: pixels.Pair, case: Case) -> pixels.ExaminedPair:
        """Only the first pair is read before the pool is told to stop."""
        seen.append(pair.key)
        assert len(seen) == 1 or cancelled.wait(PATIENCE)
        return whole(pair, case)

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            cancelled.set()
            super().shutdown(wait=wait)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pixels, "examine_pair", gated)
    monkeypatch.setattr(pixels, "ThreadPoolExecutor", Pool)
    with pytest.raises(KeyboardInterrupt):
        diagnose("camvid", tmp_path, options=tree_options(counts, size=(8, 8)), progress=stop)
    assert len(seen) < 30
    assert threading.active_count() == threads


def test_unknown_split(tree: Path) -> None:
    with pytest.raises(UsageFault, match="no split 'vall'"):
        look(tree, splits=("vall",))


def test_histogram_of_any_size() -> None:
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (7, 300), (5, 0)):
        values = rng.integers(0, 256, shape, np.uint8)
        found = pixels.histogram(values)
        assert found.dtype == np.int64
        assert found.tolist() == [values.ravel().tolist().count(value) for value in range(256)]
    turned = rng.integers(0, 3, (40, 50), np.uint8).T
    assert pixels.histogram(turned).tolist() == pixels.histogram(np.ascontiguousarray(turned)).tolist()
    large = np.full((4097, 4099), 9, np.uint8)  # more pixels than a float32 can count one by one
    large[0, 0] = 8
    assert (pixels.histogram(large)[8:10] == [1, large.size - 1]).all()


def test_spans() -> None:
    assert spans([255, 2, 0, 1]) == "0..2, 255"
    assert spans([]) == ""
