"""One stage of a training."""

from collections.abc import Iterable
from typing import Self

from pydantic import model_validator

from segbench.core.micro_batch import cut_fault

from .base import Spec, setting
from .choice import Choice
from .data import StreamSpec
from .model import ModelSpec, WeightsSpec
from .schedule import ScheduleSpec

LABELLED = "labelled"  # the stream of a stage that has one, and the primary one of several


def default_primary(streams: Iterable[str]) -> str:
    """Return the name of the stream that is primary unless a stage says otherwise: ``labelled``, or else the first."""
    names = tuple(streams)
    return LABELLED if LABELLED in names else names[0]


class StageSpec(Spec):
    """One run of the training loop."""

    name: str = "train"
    starts_from: str | None = setting(None, description="name of an earlier stage whose weights are loaded")
    streams: dict[str, StreamSpec]
    model: ModelSpec
    weights: WeightsSpec = WeightsSpec()
    method: Choice
    schedule: ScheduleSpec
    primary: str | None = setting(
        None, description="stream that validates and counts; None: the one named labelled, or else the first"
    )

    @model_validator(mode="after")
    def _primary_exists(self) -> Self:
        if self.primary is not None and self.primary not in self.streams:
            raise ValueError(f"primary is {self.primary!r}; the streams are {', '.join(self.streams)}")
        return self

    @model_validator(mode="after")
    def _cut_evenly(self) -> Self:
        fault = cut_fault(self.schedule.micro_batch, [stream.batch_total for stream in self.streams.values()])
        if fault:
            raise ValueError(fault)
        return self

    @property
    def references(self) -> tuple[tuple[str, str], ...]:
        """Names of earlier stages that this one starts from or takes labels from, after the key that holds each."""
        found = [("from", self.starts_from)]
        found += [(f"streams.{name}.data.labels_from", each.data.labels_from) for name, each in self.streams.items()]
        return tuple((key, name) for key, name in found if name is not None)

    @property
    def primary_name(self) -> str:
        """Name of the primary stream."""
        return self.primary or default_primary(self.streams)

    @property
    def primary_stream(self) -> StreamSpec:
        """Stream whose data set validates the stage and whose crops and classes stand for it."""
        return self.streams[self.primary_name]

    @property
    def images_at_once(self) -> int:
        """Images of the largest stream in one forward pass, over which normalization takes its statistics."""
        largest = max(stream.batch_total for stream in self.streams.values())
        return min(largest, self.schedule.micro_batch or largest)

    @property
    def micro_batches(self) -> int:
        """Number of micro-batches of a batch, with one forward pass each."""
        return max(stream.batch_total for stream in self.streams.values()) // self.images_at_once
