"""Report of an examination, as plain data with conversion to JSON and back."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from segbench.data.classes import ClassTable
from segbench.data.reader import Finding

LINES_PER_KIND = 5


@dataclass
class Tally:
    """Counts over the files of one split that could be read.

    Attributes:
        images: number of images.
        labels: number of labels.
        heights: smallest and largest height of an image in pixels; (0, 0) before the first.
        widths: smallest and largest width.
        raw: number of pixels with each value of the label files, before any mapping, int64 (256,).
        images_with: number of labels that contain each train id, int64 (num_classes,).
        image_kinds: format, colours and bits of the image files, e.g. ``RGB 8-bit PNG``, to their number.
        label_kinds: the same of the label files.
    """

    images: int
    labels: int
    heights: tuple[int, int]
    widths: tuple[int, int]
    raw: np.ndarray
    images_with: np.ndarray
    image_kinds: Counter[str]
    label_kinds: Counter[str]

    @classmethod
    def empty(cls, num_classes: int) -> "Tally":
        raw, images_with = np.zeros(256, np.int64), np.zeros(num_classes, np.int64)
        return cls(0, 0, (0, 0), (0, 0), raw, images_with, Counter(), Counter())

    @property
    def pixels(self) -> int:
        """Number of pixels of all labels."""
        return int(self.raw.sum())

    @property
    def values(self) -> list[int]:
        """Values that occur in the label files, ascending."""
        return [int(value) for value in np.flatnonzero(self.raw)]

    def mapped(self, table: ClassTable) -> tuple[np.ndarray, int, int]:
        """Return pixels of each train id, int64 (num_classes,), ignored pixels, and pixels outside the table."""
        classes, ignored, known = np.zeros(table.num_classes, np.int64), 0, 0
        for value, train_id in table.values:
            count = int(self.raw[value])
            known += count
            if train_id < table.num_classes:
                classes[train_id] += count
            else:
                ignored += count
        return classes, ignored, self.pixels - known

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data for ``from_json``."""
        return {
            "images": self.images,
            "labels": self.labels,
            "heights": list(self.heights),
            "widths": list(self.widths),
            "raw": {str(value): int(self.raw[value]) for value in self.values},
            "images_with": self.images_with.tolist(),
            "image_kinds": dict(self.image_kinds),
            "label_kinds": dict(self.label_kinds),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Tally":
        """Return the tally that ``as_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: the data is not of a tally.
        """
        raw = np.zeros(256, np.int64)
        for value, count in data["raw"].items():
            raw[int(value)] = count
        (low, high), (left, right) = data["heights"], data["widths"]
        images_with = np.array(data["images_with"], np.int64)
        kinds = Counter(data["image_kinds"]), Counter(data["label_kinds"])
        return cls(data["images"], data["labels"], (low, high), (left, right), raw, images_with, *kinds)


@dataclass(frozen=True)
class SplitReport:
    """One split.

    Attributes:
        split: its name.
        accepted: accepted numbers of images, the official one first.
        listed: number of pairs according to its folder or list.
        complete: number of pairs of which every file is there.
        optional: True if the data set is complete without it.
        secret: True if its labels are not public.
        tally: counts over its files.
    """

    split: str
    accepted: tuple[int, ...]
    listed: int
    complete: int
    optional: bool
    secret: bool
    tally: Tally


@dataclass(frozen=True)
class Report:
    """Result of an examination.

    Attributes:
        name: of the data set.
        title: the name people use.
        folder: of its files.
        layout: the layout of the files; empty where a data set has but one.
        table: the class table that train ids refer to.
        splits: the examined ones.
        findings: all of them, faults last.
        remembered: True if all files are those of an earlier examination, so that none was read again.
    """

    name: str
    title: str
    folder: Path
    layout: str
    table: ClassTable
    splits: tuple[SplitReport, ...]
    findings: tuple[Finding, ...] = field(repr=False)
    remembered: bool = False

    def of_level(self, level: str) -> tuple[Finding, ...]:
        """Return the findings of level ``ok``, ``note`` or ``fault``."""
        return tuple(finding for finding in self.findings if finding.level == level)

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings of level ``fault``."""
        return self.of_level("fault")

    def as_json(self) -> dict[str, Any]:
        """Return the report as plain data, with all counts in pixels."""
        return {
            "schema": 2,
            "dataset": self.name,
            "folder": str(self.folder),
            "layout": self.layout,
            "ok": not self.faults,
            "remembered": self.remembered,
            "class_table": self.table.name,
            "findings": [finding_json(finding) for finding in self.findings],
            "splits": {item.split: self._split_json(item) for item in self.splits},
        }

    def _split_json(self, report: SplitReport) -> dict[str, Any]:
        classes, ignored, unknown = report.tally.mapped(self.table)
        counted = report.tally.as_json()
        images_with = counted.pop("images_with")
        return {
            "accepted": list(report.accepted),
            "listed": report.listed,
            "whole": report.complete,
            "optional": report.optional,
            "secret": report.secret,
            **counted,
            "pixels": report.tally.pixels,
            "classes": dict(zip(self.table.names, classes.tolist(), strict=True)),
            "ignored": ignored,
            "outside": unknown,
            "labels_with": dict(zip(self.table.names, images_with, strict=True)),
        }


def finding_json(finding: Finding) -> dict[str, str]:
    """Return a finding as plain data."""
    return {"level": finding.level, "kind": finding.kind, "text": finding.text, "fix": finding.fix}


def shorten(findings: tuple[Finding, ...]) -> list[Finding]:
    """Return the first five findings of each kind, kinds together, and one that counts the rest of each kind."""
    kinds: dict[str, list[Finding]] = {}
    for place, finding in enumerate(findings):
        kinds.setdefault(finding.kind or f"#{place}", []).append(finding)
    lines: list[Finding] = []
    for kind, same in kinds.items():
        lines += same[:LINES_PER_KIND]
        if (more := len(same) - LINES_PER_KIND) > 0:
            lines.append(Finding(same[0].level, f"... and {more:,} more of this kind ({kind}).", same[0].fix, kind))
    return lines


def spans(values: list[int]) -> str:
    """Return values with their ranges joined: ``[0, 1, 2, 255]`` -> ``0..2, 255``."""
    found: list[list[int]] = []
    for value in sorted(values):
        if found and value == found[-1][1] + 1:
            found[-1][1] = value
        else:
            found.append([value, value])
    return ", ".join(str(low) if low == high else f"{low}..{high}" for low, high in found)


def enumerate_names(names: list[str], *, most: int = 8) -> str:
    """Return the first names and the number of the others: ``sky, car and 3 more``."""
    if len(names) <= most + 1:
        return ", ".join(names)
    return f"{', '.join(names[:most])} and {len(names) - most} more"
