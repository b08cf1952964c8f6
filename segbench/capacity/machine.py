"""The machine: versions, devices, disks, credentials, and problems with their remedies."""

import importlib.metadata
import os
import pkgutil
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from segbench.core.disk import free_bytes
from segbench.core.errors import RunFault
from segbench.core.offline import offline
from segbench.core.provenance import segbench_version
from segbench.data import places
from segbench.data.fetching import accounts
from segbench.results.store import Store

LOW_DISK_BYTES = 5 * 10**9  # room for a few checkpoints or one small data set
_BF16_CAPABILITY = (8, 0)  # Ampere; older ones only emulate it
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless")
_HUB = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_CUDA_INSTALL = "install torch and torchvision in a build for CUDA, as https://pytorch.org/get-started says"


@dataclass(frozen=True)
class Device:
    """A device that networks run on; ``bf16`` is True if it computes in bfloat16 natively."""

    name: str
    model: str
    memory_bytes: int
    bf16: bool


@dataclass(frozen=True)
class Place:
    """A folder that segbench writes to."""

    name: str
    folder: Path
    free: int


@dataclass(frozen=True)
class Problem:
    """A problem and its remedy; ``prevents`` is True if nothing at all can run."""

    says: str
    next: str
    prevents: bool = False


def versions() -> dict[str, str]:
    """Return the versions of segbench, Python and the packages that figures depend on."""
    found = {**segbench_version(), "python": platform.python_version(), "platform": platform.platform(terse=True)}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # OpenCV comes in several packages
    return {**found, "cuda": torch.version.cuda or "none", "driver": driver_version() or "none"}


def cuda_devices() -> list[Device]:
    """Return the devices that torch can use."""
    found = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        properties = torch.cuda.get_device_properties(index)
        bf16 = (properties.major, properties.minor) >= _BF16_CAPABILITY or torch.version.hip is not None
        found.append(Device(f"cuda:{index}", properties.name, properties.total_memory, bf16))
    return found


def driver_version() -> str | None:
    """Return the version of the NVIDIA driver; None without one."""
    said = _nvidia("--query-gpu=driver_version", "--format=csv,noheader")
    return said[0] if said else None


def physical_gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that the driver knows, usable by torch or not."""
    return _nvidia("--query-gpu=name", "--format=csv,noheader")


def _nvidia(*words: str) -> list[str]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        done = subprocess.run([command, *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()] if done.returncode == 0 else []


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main_memory_bytes() -> int | None:
    """Return the main memory, or a container's limit of it; None if unknown."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    try:
        granted = int(Path("/sys/fs/cgroup/memory.max").read_text())
    except (OSError, ValueError):  # no container, or "max"
        return whole
    return min(whole, granted)


def writable_places(store: Store, data_root: Path | None) -> list[Place]:
    """Return the folders of data, cache and results with their free space."""
    folders = {"data": places.data_root(data_root), "cache": places.cache_root(), "results": store.root}
    return [Place(name, folder, free_bytes(folder)) for name, folder in folders.items()]


def credentials() -> dict[str, bool]:
    """Return True for each variable with credentials that is set; values are not returned."""
    names = list(_HUB)
    for module in pkgutil.iter_modules(accounts.__path__):
        site = accounts.account(module.name)
        names += [site.USERNAME, site.PASSWORD]
    return {name: bool(os.environ.get(name)) for name in names}


def problems(store: Store, devices: Sequence[Device], folders: Sequence[Place]) -> list[Problem]:
    """Return all problems, those that prevent any run first."""
    found = [*_results(store), *_gpus(devices), *_disks(folders), *_accounts()]
    if offline():
        found.append(Problem(f"{offline()} is set: nothing is downloaded.", f"unset {offline()}"))
    return sorted(found, key=lambda each: not each.prevents)


def _results(store: Store) -> list[Problem]:
    try:
        store.check_writable()
    except (RunFault, OSError) as error:
        reason = error.faults[0] if isinstance(error, RunFault) else f"{store.root}: {error.strerror}."
        reason = re.sub(r" What was computed before is kept\.$", "", reason)
        way = "the same command with --out FOLDER, or set SEGBENCH_RESULTS"
        return [Problem(f"No result can be written: {reason}", way, prevents=True)]
    return []


def _gpus(devices: Sequence[Device]) -> list[Problem]:
    physical = physical_gpus()
    old = [device for device in devices if not device.bf16]
    found = [
        Problem(f"{device.name} ({device.model}) only emulates bfloat16.", "segbench reproduce ... --precision float32")
        for device in old
    ]
    if devices or not physical:
        return found
    gpus = ", ".join(dict.fromkeys(physical))
    if torch.version.cuda is None:
        return [Problem(f"This torch is built for the CPU alone, but there is a GPU: {gpus}.", _CUDA_INSTALL)]
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None:
        return [Problem(f"CUDA_VISIBLE_DEVICES is {hidden!r} and hides {gpus}.", "unset CUDA_VISIBLE_DEVICES")]
    says = f"torch cannot use {gpus}: its CUDA {torch.version.cuda} does not work with the driver {driver_version()}."
    return [Problem(says, "update the driver, or install torch for an older CUDA")]


def _disks(folders: Sequence[Place]) -> list[Problem]:
    ways = {"data": "--data-root FOLDER or SEGBENCH_DATA", "cache": "SEGBENCH_CACHE", "results": "--out FOLDER"}
    return [
        Problem(
            f"The disk of {place.folder} ({place.name}) has {place.free / 1e9:.1f} GB left.",
            f"free some space, or name another folder: {ways[place.name]}",
        )
        for place in folders
        if place.free < LOW_DISK_BYTES
    ]


def _accounts() -> list[Problem]:
    """Return a problem for each account with a user name but no password, or the other way round."""
    found = []
    for module in pkgutil.iter_modules(accounts.__path__):
        site = accounts.account(module.name)
        there = [name for name in (site.USERNAME, site.PASSWORD) if os.environ.get(name)]
        if len(there) == 1:
            (lacking,) = {site.USERNAME, site.PASSWORD} - set(there)
            found.append(Problem(f"{there[0]} is set, {lacking} is not.", f"set {lacking}"))
    return found
