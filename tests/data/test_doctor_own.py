"""The doctor on data sets of other shapes: own checks and layouts, instance files, the official tiny archives."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from segbench.core import registry
from segbench.core.errors import MissingFault
from segbench.data.classes import class_table
from segbench.data.doctor.case import Case
from segbench.data.doctor.diagnose import diagnose
from segbench.data.doctor.pixels import examine_pair
from segbench.data.doctor.report import Report
from segbench.data.facts import DatasetOptions
from segbench.data.reader import Finding, Pair
from tests.data.camvid_tree import arrays, png

NAME = "tiny-own"


class Own:
    """A data set of one split with images, labels and instance files, whose reader can be told what to say."""

    def __init__(self, root: Path) -> None:
        self.folder = root / NAME
        self.findings: list[Finding] = []
        self.fault: MissingFault | None = None
        self.instances = True
        self.folder.mkdir(parents=True)
        for number in range(3):
            image, label = arrays("val", number)
            (self.folder / f"{number}.png").write_bytes(png(image))
            (self.folder / f"{number}_label.png").write_bytes(png(label))
            instances = cv2.imencode(".png", label.astype(np.uint16) * 1000)[1].tobytes()
            (self.folder / f"{number}_instances.png").write_bytes(instances)

    def locate(self, root: Path) -> Path:
        return self.folder

    def pairs(self, folder: Path, split: str) -> list[Pair]:
        names = [[folder / f"{number}{end}.png" for end in ("", "_label", "_instances")] for number in range(3)]
        return [Pair(f"val/{number}", *files) for number, files in enumerate(names)]

    def layout(self, folder: Path) -> str:
        return "as I packed it"

    def examine(self, folder: Path) -> Iterator[Finding]:
        if self.fault:
            raise self.fault
        yield from self.findings

    def options(self) -> DatasetOptions:
        return DatasetOptions(
            title="Own", table="camvid", splits={"val": (3,)}, size_bytes=1, licence="mine", obtain="It is yours.",
            notes=("It is small.",),
        )  # fmt: skip


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Own]:
    made = Own(tmp_path)
    reader, options = ModuleType("reader"), ModuleType("options")
    for part in ("locate", "pairs", "layout", "examine"):
        setattr(reader, part, getattr(made, part))
    options.Options = made.options  # type: ignore[attr-defined]
    registry.add("dataset", NAME, {"reader": reader, "options": options})
    yield made
    registry.remove("dataset", NAME)


def look(own: Own) -> Report:
    return diagnose(NAME, own.folder.parent)


def test_layout_notes_and_own_findings(own: Own) -> None:
    own.findings = [Finding("ok", "it is mine"), Finding("note", "it is old"), Finding("fault", "a hole", kind="hole")]
    report = look(own)
    assert report.layout == "as I packed it"
    assert [finding.text for finding in report.of_level("note")] == ["it is old", "It is small."]
    (fault,) = report.faults
    assert fault.fix == f"fix or replace these files, then: segbench data verify {NAME}", (
        "nothing can be downloaded here"
    )
    assert "it is mine" in [finding.text for finding in report.of_level("ok")]


def test_own_checks_are_asked_again_only_while_they_find_a_fault(own: Own) -> None:
    own.findings = [Finding("fault", "a hole")]
    assert look(own).faults
    own.findings = [Finding("note", "it is old")]
    assert not look(own).faults
    own.findings = []
    assert [finding.text for finding in look(own).of_level("note")] == ["it is old", "It is small."]
    (own.folder / "2.png").write_bytes(png(arrays("val", 1)[0]))
    assert [finding.text for finding in look(own).of_level("note")] == ["It is small."]


def test_classes_that_own_data_lacks_are_no_fault(own: Own) -> None:
    for number in range(3):
        raw = arrays("val", number)[1]
        (own.folder / f"{number}_label.png").write_bytes(png(np.where(raw == 0, 1, raw).astype(np.uint8)))
    report = look(own)
    assert not report.faults, "of data that nobody has published, nobody knows what it holds"
    assert "no examined label contains sky." in [note.text for note in report.of_level("note")]
    (ok,) = (finding.text for finding in report.of_level("ok") if finding.text.startswith("labels hold"))
    assert ok.startswith("labels hold 1..11: 10 of 11 classes occur, 11 ignored")


def test_a_file_that_the_own_checks_cannot_read_is_a_fault(own: Own) -> None:
    own.fault = MissingFault("list.txt: is missing", next="segbench data download x")
    (fault,) = look(own).faults
    assert (fault.text, fault.fix) == ("list.txt: is missing", "segbench data download x")


def test_instance_files(own: Own) -> None:
    assert not look(own).faults
    files = [own.folder / f"{number}_instances.png" for number in range(3)]
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[:-9])
    assert [fault.kind for fault in look(own).faults] == ["broken instances"]
    files[0].write_bytes(cv2.imencode(".png", np.zeros((5, 6), np.uint16))[1].tobytes())
    assert "is 5x6 but its image 24x32" in look(own).faults[0].text
    files[0].unlink()
    (fault,) = look(own).faults
    assert str(files[0]) in fault.text and "others are here" in fault.text
    for path in files[1:]:
        path.unlink()
    report = look(own)
    assert not report.faults
    assert any("has no instance files" in note.text for note in report.of_level("note"))


def test_official_cityscapes(tmp_path: Path) -> None:
    from tests.data.official import cityscapes

    cityscapes.write_tree(tmp_path / "cityscapes")
    report = diagnose("cityscapes", tmp_path, options=cityscapes.tiny_options())
    assert not report.faults
    assert report.layout.startswith("as unpacked")
    for part in report.splits:
        expected = np.zeros(256, np.int64)
        for split, frame in cityscapes.frames():
            if split == part.split != "test":
                for value in cityscapes.arrays(frame)[1].ravel().tolist():
                    expected[value] += 1
        assert part.tally.raw.tolist() == expected.tolist()
    train = report.splits[0].tally
    assert train.label_kinds == {"grey 8-bit PNG": train.labels}


def test_official_voc(tmp_path: Path) -> None:
    from tests.data.official import voc2012

    voc2012.write_tree(tmp_path / "voc2012")
    seen: list[tuple[int, int]] = []
    options = voc2012.tiny_options()
    report = diagnose("voc2012", tmp_path, options=options, progress=lambda *now: seen.append(now))
    assert not report.faults
    parts = {part.split: part for part in report.splits}
    assert len(seen) == len({*voc2012.TRAIN, *voc2012.VAL, *voc2012.ADDED, *voc2012.TEST}), "shared pairs once"
    assert parts["trainaug"].tally.label_kinds == {
        "palette 8-bit PNG": len(voc2012.TRAIN),
        "MAT": len(voc2012.ADDED),
    }
    expected = [0] * 256
    for name in voc2012.VAL:
        for value in voc2012.bordered(name).ravel().tolist():
            expected[value] += 1
    assert parts["val"].tally.raw.tolist() == expected
    assert any("labels of trainaug are a mixture" in note.text for note in report.of_level("note"))
    assert parts["test"].tally.labels == 0


@pytest.mark.parametrize("name", ["ade20k", "coco_stuff_10k", "gta5"])
def test_other_official_archives_are_whole(name: str, tmp_path: Path) -> None:
    tiny = importlib.import_module(f"tests.data.official.{name}")
    dataset = name.replace("_", "-")
    tiny.write_tree(tmp_path / dataset)
    report = diagnose(dataset, tmp_path, options=tiny.tiny_options())
    assert not report.faults
    assert any(f"all {report.table.num_classes} classes occur" in ok.text for ok in report.of_level("ok"))
    assert all(part.complete == part.listed == part.tally.images for part in report.splits)
    assert diagnose(dataset, tmp_path, options=tiny.tiny_options()).remembered


def test_half_a_jpeg(tmp_path: Path) -> None:
    from tests.data.official import voc2012

    folder = voc2012.write_tree(tmp_path / "voc2012")
    path = folder / "VOCdevkit" / "VOC2012" / "JPEGImages" / f"{voc2012.VAL[0]}.jpg"
    data = path.read_bytes()
    for length in (3, len(data) // 3, len(data) - 2):
        path.write_bytes(data[:length])
        (fault,) = diagnose("voc2012", tmp_path, options=voc2012.tiny_options(), splits=("val",)).faults
        assert fault.kind == "broken image" and str(path) in fault.text


def test_a_label_that_was_saved_as_jpeg(own: Own) -> None:
    path = own.folder / "0_label.jpg"
    path.write_bytes(cv2.imencode(".jpg", arrays("val", 0)[1])[1].tobytes())
    case = Case(NAME, own.folder, own.options(), class_table("camvid"))
    seen = examine_pair(Pair("val/0", own.folder / "0.png", path), case)
    assert [finding.kind for finding in seen.findings] == ["label format"]
    assert "is a JPEG, which does not keep label values" in seen.findings[0].text
    assert seen.histogram is None
