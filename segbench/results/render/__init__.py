"""Reports as text: pure functions of ``TableReport``, one module per format in ``segbench.results.formats``."""

from collections.abc import Sequence

from segbench.results.formats import load_format
from segbench.results.verdicts import TableReport

from .options import RenderOptions


def render(
    reports: TableReport | Sequence[TableReport],
    form: str = "terminal",
    *,
    per_class: bool = False,
    width: int = 100,
    color: bool = False,
) -> str:
    """Render one or several reports in one format.

    Args:
        reports: reports of ``compare_table`` or ``compare_tables``.
        form: name of a format, see ``segbench.results.formats``.
        per_class: show the IoU of every class as well; some formats always hold it, others have no place for it.
        width: columns of the terminal.
        color: allow colour codes of a terminal.

    Raises:
        UsageFault: no such format.
    """
    every = [reports] if isinstance(reports, TableReport) else list(reports)
    return load_format(form).render(every, RenderOptions(per_class, width, color))
