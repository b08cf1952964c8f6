"""Reading image files: against Pillow, against the formats' own rules; files cut off or of another kind."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from segbench.data.images import (
    BrokenFile,
    read_image,
    read_indices,
    read_instances,
    read_label,
    read_mat,
    read_mat_label,
)
from segbench.data.truncation import jpeg_fault, png_fault

SIZE = (37, 53)


def values(limit: int = 256, *, dtype: type = np.uint8) -> np.ndarray:
    """Numbers below ``limit``; the last one occurs."""
    found = np.random.default_rng(3).integers(0, limit, SIZE, dtype=dtype)
    found[0, 0] = limit - 1
    return found


def picture() -> np.ndarray:
    """RGB of smooth colours, as JPEG likes it."""
    small = np.random.default_rng(4).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return cv2.resize(small, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def palette(indices: np.ndarray, **options: object) -> bytes:
    """A palette PNG in which no colour tells its index."""
    image = Image.fromarray(indices, "P")
    image.putpalette(np.random.default_rng(5).integers(0, 256, 768, dtype=np.uint8).tobytes())
    return saved(image, "PNG", **options)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def reason(read: object, path: Path, *fields: str) -> str:
    with pytest.raises(BrokenFile) as caught:
        read(path, *fields)  # type: ignore[operator]
    assert str(path) in caught.value.faults[0]
    return caught.value.reason


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_palette_indices(tmp_path: Path, bits: int) -> None:
    truth = values(2**bits)
    data = palette(truth, bits=bits)
    assert data[24] == bits and data[25] == 3  # Pillow wrote what the test is about
    path = write(tmp_path, "label.png", data)
    assert np.array_equal(read_indices(path), truth)
    assert read_indices(path).dtype == np.uint8
    assert not np.array_equal(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), truth)  # the usual mistake


def test_palette_with_transparency_and_a_word_on_orientation(tmp_path: Path) -> None:
    truth = values(21)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = write(tmp_path, "label.png", palette(truth, bits=8, transparency=3, exif=exif.tobytes()))
    assert np.array_equal(read_indices(path), truth)


def test_grey_indices_are_untouched(tmp_path: Path) -> None:
    path = write(tmp_path, "label.png", saved(Image.fromarray(values()), "PNG"))
    assert np.array_equal(read_indices(path), values())
    assert np.array_equal(read_label(path), values())


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (values(65536, dtype=np.uint16), "is a grey image of 16 bits"),
        (np.dstack([values()] * 3), "is a colour image of 8 bits"),
        (np.dstack([values()] * 4), "is a colour and transparent image of 8 bits"),
        (np.dstack([values()] * 2), "is a grey and transparent image of 8 bits"),
    ],
)
def test_labels_of_another_kind_say_what_they_are(tmp_path: Path, array: np.ndarray, found: str) -> None:
    path = write(tmp_path, "label.png", saved(Image.fromarray(array), "PNG"))
    for read in (read_label, read_indices):
        assert found in reason(read, path) and "grey 8-bit" in reason(read, path)


def test_a_palette_is_no_grey_label(tmp_path: Path) -> None:
    path = write(tmp_path, "label.png", palette(values(21)))
    assert "palette image of 8 bits, not a grey 8-bit label image" in reason(read_label, path)
    assert "palette image of 8 bits, not a grey instance image" in reason(read_instances, path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_instances(tmp_path: Path, dtype: type) -> None:
    truth = values(256 if dtype is np.uint8 else 33_019, dtype=dtype)
    path = write(tmp_path, "instances.png", cv2.imencode(".png", truth)[1].tobytes())
    assert read_instances(path).dtype == np.int32
    assert np.array_equal(read_instances(path), truth)
    assert np.array_equal(read_instances(path), np.asarray(Image.open(path)))


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30, "optimize": True}])
def test_jpeg_as_pillow_reads_it(tmp_path: Path, options: dict[str, object]) -> None:
    path = write(tmp_path, "image.jpg", saved(Image.fromarray(picture()), "JPEG", **options))
    assert np.array_equal(read_image(path), np.asarray(Image.open(path)))


def test_grey_and_four_colour_jpegs_have_three_channels(tmp_path: Path) -> None:
    grey = write(tmp_path, "grey.jpg", saved(Image.fromarray(picture()[..., 0]), "JPEG"))
    assert np.array_equal(read_image(grey), np.dstack([np.asarray(Image.open(grey))] * 3))
    four = write(tmp_path, "four.jpg", saved(Image.fromarray(picture()).convert("CMYK"), "JPEG"))
    assert read_image(four).shape == (*SIZE, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation_notes_are_not_followed(tmp_path: Path, kind: str) -> None:
    """The label that belongs to the image has no such note."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    path = write(tmp_path, f"image.{kind.lower()}", saved(Image.fromarray(picture()), kind, exif=exif.tobytes()))
    assert Image.open(path).getexif()[0x0112] == 6
    assert np.array_equal(read_image(path), np.asarray(Image.open(path)))


def jpegs() -> dict[str, bytes]:
    """JPEG files with what may stand between the first and the last marker."""
    image = Image.fromarray(picture())
    small = saved(image.resize((8, 8)), "JPEG")
    thumbnail = b"Exif\0\0" + small  # a picture with an end mark of its own inside of a segment
    restarts = cv2.imencode(".jpg", picture(), [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    plain = saved(image, "JPEG", quality=95)
    assert b"\xff\xd0" in restarts and b"\xff\x00" in plain
    return {
        "plain": plain,
        "progressive": saved(image, "JPEG", progressive=True),
        "restarts": restarts,
        "thumbnail": saved(image, "JPEG", exif=thumbnail),
        "fill bytes": plain[:2] + b"\xff\xff" + plain[2:],
    }


@pytest.mark.parametrize("kind", list(jpegs()))
def test_every_prefix_of_a_jpeg_is_cut_off(kind: str) -> None:
    data = jpegs()[kind]
    assert Image.open(io.BytesIO(data)).convert("RGB").size == SIZE[::-1]
    assert jpeg_fault(data) is None
    assert jpeg_fault(data + b"trailing") is None
    assert all(jpeg_fault(data[:length]) for length in range(len(data)))


def test_cut_off_files(tmp_path: Path) -> None:
    data = jpegs()["plain"]
    path = write(tmp_path, "image.jpg", data[: len(data) // 2])
    assert reason(read_image, path) == "is cut off"
    path = write(tmp_path, "image.JPEG", b"")
    assert reason(read_image, path) == "is empty"
    assert reason(read_image, write(tmp_path, "empty.jpg", data[:2] + data[-2:])) == "is damaged (it holds no picture)"
    label = palette(values(21))
    assert reason(read_indices, write(tmp_path, "label.png", label[:-20])) == "is cut off"
    assert png_fault(label) is None


def test_a_file_is_what_its_first_bytes_say(tmp_path: Path) -> None:
    png = saved(Image.fromarray(picture()), "PNG")
    assert np.array_equal(read_image(write(tmp_path, "really_png.jpg", png)), picture())
    assert reason(read_image, write(tmp_path, "cut.jpg", png[:-1])) == "is cut off"
    assert reason(read_image, write(tmp_path, "page.jpg", b"<html>not found</html>")) == "is not a JPEG file"
    assert reason(read_image, write(tmp_path, "page.png", b"<html>not found</html>")) == "is not a PNG file"
    assert reason(read_image, write(tmp_path, "page.bmp", b"<html>not found</html>")) == "cannot be decoded"
    assert reason(read_image, tmp_path / "none.jpg") == "is missing"


def test_a_header_that_lies_is_no_crash(tmp_path: Path) -> None:
    """A size that no decoder would allocate, with a checksum that holds."""
    import zlib

    data = saved(Image.fromarray(values()), "PNG")
    body = b"IHDR" + (2**31 - 1).to_bytes(4) * 2 + data[24:29]
    assert "cannot be decoded" in reason(
        read_label, write(tmp_path, "huge.png", data[:12] + body + zlib.crc32(body).to_bytes(4) + data[33:])
    )


def mat(folder: Path, variables: dict[str, object], *, compressed: bool = True) -> Path:
    path = folder / "file.mat"
    savemat(path, variables, do_compression=compressed)
    return path


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float64])
def test_mat(tmp_path: Path, compressed: bool, dtype: type) -> None:
    truth = values(183).astype(dtype)
    path = mat(tmp_path, {"S": truth, "other": np.arange(3)}, compressed=compressed)
    assert read_mat(path, "S").dtype == dtype
    assert np.array_equal(read_mat(path, "S"), truth)
    assert read_mat_label(path, "S").dtype == np.uint8
    assert np.array_equal(read_mat_label(path, "S"), truth)
    nested = mat(tmp_path, {"GTcls": {"Segmentation": truth, "inner": {"deep": truth.T}}}, compressed=compressed)
    assert np.array_equal(read_mat_label(nested, "GTcls", "Segmentation"), truth)
    assert np.array_equal(read_mat_label(nested, "GTcls", "inner", "deep"), truth.T)


def test_mat_that_holds_something_else(tmp_path: Path) -> None:
    path = mat(tmp_path, {"S": values(183), "text": "words", "cell": np.array([[1, "a"]], object)})
    assert reason(read_mat, path, "LabelMap") == "has no variable 'LabelMap'"
    assert "with S.Segmentation" in reason(read_mat, path, "S", "Segmentation")
    assert "no matrix of numbers at text" in reason(read_mat, path, "text")
    assert "no matrix of numbers" in reason(read_mat, path, "cell")
    nested = mat(tmp_path, {"GTcls": {"Boundaries": 1}})
    assert "with GTcls.Segmentation" in reason(read_mat_label, nested, "GTcls", "Segmentation")
    for wrong in (300, -1, 0.5, np.nan):
        path = mat(tmp_path, {"S": np.full(SIZE, wrong)})
        assert "no whole numbers from 0 to 255" in reason(read_mat_label, path, "S")


@pytest.mark.parametrize("compressed", [True, False])
def test_mat_that_is_cut_off(tmp_path: Path, compressed: bool) -> None:
    data = mat(tmp_path, {"GTcls": {"Segmentation": values(21)}}, compressed=compressed).read_bytes()
    for length in [*range(1, len(data) - 8, 97), len(data) - 8]:
        path = write(tmp_path, "cut.mat", data[:length])
        assert reason(read_mat_label, path, "GTcls", "Segmentation")
    assert reason(read_mat, write(tmp_path, "page.mat", b"<html>not found</html>" * 20), "S")
    assert reason(read_mat, write(tmp_path, "empty.mat", b""), "S") == "is empty"
