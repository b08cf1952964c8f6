"""What every step of a run needs, and what is written of the machine that it ran on."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segbench.core.provenance import segbench_version
from segbench.engine.progress import Observer
from segbench.engine.runtime import Runtime
from segbench.results.store import Store


@dataclass(frozen=True)
class Context:
    """What every step of execution needs."""

    store: Store
    runtime: Runtime
    data_root: Path | None
    observer: Observer
    stop: Callable[[], bool]
    stream: bool = False  # decode images whenever they are used, prepare none


def provenance(runtime: Runtime) -> dict[str, Any]:
    """Versions, machine, time and command of a record."""
    return {
        **segbench_version(),
        **runtime.describe(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["segbench", *sys.argv[1:]]),
    }
