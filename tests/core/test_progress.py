"""The progress protocol: silent by itself, and counters told as a phase of a run."""

from segbench.core.progress import SILENT, Observer, Progress


class Seen(Observer):
    def __init__(self) -> None:
        self.reports: list[Progress] = []
        self.notes: list[str] = []
        self.stopped = False

    def report(self, progress: Progress) -> None:
        self.reports.append(progress)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stop_requested(self) -> bool:
        return self.stopped


def test_silence_takes_everything_and_never_stops() -> None:
    SILENT.announce("a", 1, 2)
    SILENT.note("a")
    SILENT.report(Progress("train", 1, 2))
    SILENT.counter("a", "bytes")(3, None)
    assert not SILENT.stop_requested()


def test_counters_become_a_phase_with_rate_and_rest() -> None:
    seen = Seen()
    count = seen.phase("prepare").counter("camvid train", "images")
    count(5, 10)  # four were there before
    for done in (6, 8):
        count(done, 10)
    assert [(each.phase, each.done, each.total) for each in seen.reports] == [("prepare", n, 10) for n in (5, 6, 8)]
    assert seen.reports[0].images_per_second == 0 and seen.reports[0].seconds_left is None
    last = seen.reports[-1]
    assert last.images_per_second > 0 and last.seconds_left is not None
    assert round(last.seconds_left * last.images_per_second, 6) == 2, "two images are left"


def test_an_unknown_total_has_no_rest() -> None:
    seen = Seen()
    count = seen.phase("prepare").counter("masks", "masks")
    for done in (1, 2):
        count(done, None)
    assert (seen.reports[-1].done, seen.reports[-1].total, seen.reports[-1].seconds_left) == (2, 2, None)


def test_a_phase_passes_on_notes_reports_and_stop_requests() -> None:
    seen = Seen()
    phase = seen.phase("prepare")
    phase.note("a line")
    phase.report(Progress("train", 1, 2))
    assert seen.notes == ["a line"] and seen.reports == [Progress("train", 1, 2)]
    assert not phase.stop_requested()
    seen.stopped = True
    assert phase.stop_requested()
