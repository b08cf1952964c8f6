"""Archives for test servers: what is written, and that a reader as strict as the server finds every slip."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segbench.core.errors import UsageFault
from segbench.data import submission
from segbench.data.classes import class_table
from segbench.data.sets.cityscapes import server as cityscapes
from segbench.data.sets.voc2012 import server as voc


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_cityscapes_files_hold_label_ids() -> None:
    helpers = pytest.importorskip("cityscapesscripts.helpers.labels")
    table = class_table("cityscapes")
    train_ids = np.arange(19, dtype=np.uint8)[None]
    official = [helpers.trainId2label[train_id].id for train_id in range(19)]
    assert np.asarray(opened(cityscapes.encode(train_ids, table)))[0].tolist() == official
    assert official[:3] == [7, 8, 11] and official[-1] == 33


def test_a_void_output_becomes_unlabeled() -> None:
    table = class_table("cityscapes-20")
    assert table.names[0] not in class_table("cityscapes").names
    image = np.asarray(opened(cityscapes.encode(np.array([[0, 1, 19, 255]], np.uint8), table)))
    assert image[0].tolist() == [0, 7, 33, 0]


def test_names_inside_the_archives() -> None:
    assert cityscapes.member("test/berlin_000000_000019") == "berlin_000000_000019_pred.png"
    assert cityscapes.member("test/berlin_000000_000019_leftImg8bit") == "berlin_000000_000019_pred.png"
    assert voc.member("test/2008_000006") == "results/VOC2012/Segmentation/comp6_test_cls/2008_000006.png"


def test_voc_files_hold_indices_with_the_palette_of_the_devkit() -> None:
    ids = np.random.default_rng(0).integers(0, 21, (13, 17)).astype(np.uint8)
    image = opened(voc.encode(ids, class_table("voc2012")))
    assert image.mode == "P"
    assert np.array_equal(np.asarray(image), ids)
    palette = np.array(image.getpalette()).reshape(-1, 3)
    for index in range(21):  # the devkit's colour map: three bits of the index a time, from the highest bit down
        color = [0, 0, 0]
        for bit in range(8):
            for channel in range(3):
                color[channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
        assert palette[index].tolist() == color


SIZES = {"a.png": (4, 6), "b.png": (5, 3)}
VALUES = frozenset(range(5))


def png(size: tuple[int, int], value: int = 1, mode: str = "L") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (size[1], size[0]), value).save(buffer, "PNG")
    return buffer.getvalue()


def zipped(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as out:
        for name, data in files:
            out.writestr(name, data)
    return path


GOOD = [("a.png", png((4, 6))), ("b.png", png((5, 3), 4))]


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (GOOD, None),
        (GOOD[:1], "b.png is missing"),
        ([*GOOD, ("c.png", png((4, 6)))], "c.png does not belong there"),
        ([GOOD[0], ("b.png", png((3, 5)))], "b.png is 3x5, its image 5x3"),
        ([GOOD[0], ("b.png", png((5, 3), 255))], "b.png has the values 255, which no class has"),
        ([GOOD[0], ("b.png", png((5, 3), mode="RGB"))], "b.png has mode RGB; it must have one channel of 8 bits"),
        ([GOOD[0], ("b.png", png((5, 3), mode="I;16"))], "b.png has mode I;16; it must have one channel of 8 bits"),
        ([GOOD[0], ("b.png", b"nothing")], "b.png is not an image"),
        ([GOOD[0], ("b.png", GOOD[1][1][:-30])], "b.png is not an image"),
    ],
)
def test_every_slip_is_found(tmp_path: Path, files: list[tuple[str, bytes]], fault: str | None) -> None:
    faults = submission.check(zipped(tmp_path / "x.zip", files), SIZES, VALUES)
    if fault is None:
        assert faults == []
    else:
        assert len(faults) == 1 and faults[0].startswith(fault)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice(tmp_path: Path) -> None:
    assert submission.check(zipped(tmp_path / "x.zip", [*GOOD, GOOD[0]]), SIZES, VALUES) == ["a.png is there twice"]


def test_an_archive_that_is_cut_off(tmp_path: Path) -> None:
    path = zipped(tmp_path / "x.zip", GOOD)
    path.write_bytes(path.read_bytes()[:-10])
    (fault,) = submission.check(path, SIZES, VALUES)
    assert "cannot be read" in fault


def test_many_faults_are_counted(tmp_path: Path) -> None:
    expected = {f"{index}.png": (4, 6) for index in range(20)}
    faults = submission.check(zipped(tmp_path / "x.zip", []), expected, VALUES)
    assert len(faults) == 6 and faults[-1] == "... and 15 more faults"


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_packed_archives_are_right_and_always_the_same(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "predictions"
    (folder / "deep/er").mkdir(parents=True)
    sizes = {"deep/er/a.png": (4, 6), "b.png": (5, 3)}
    for name, size in sizes.items():
        (folder / name).write_bytes(png(size))
    archives = [tmp_path / f"{index}{suffix}" for index in range(2)]
    sums = [submission.pack(folder, list(sizes), archive) for archive in archives]
    assert sums[0] == sums[1] and archives[0].read_bytes() == archives[1].read_bytes()
    assert submission.check(archives[0], sizes, VALUES) == []
    if suffix == ".zip":
        assert zipfile.ZipFile(archives[0]).namelist() == list(sizes)
    else:
        with tarfile.open(archives[0]) as tar:
            assert tar.getnames() == list(sizes)


def test_only_some_data_sets_have_a_server() -> None:
    assert submission.server_of("cityscapes", "test") is cityscapes
    with pytest.raises(UsageFault, match="scores the test split, not val"):
        submission.server_of("cityscapes", "val")
    with pytest.raises(UsageFault, match="camvid has no test server"):
        submission.server_of("camvid", "test")
