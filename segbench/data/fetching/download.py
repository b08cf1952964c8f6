"""Download of a data set: its archives are fetched one after the other, unpacked and verified. Free of torch."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from segbench.core.archive import Conflict
from segbench.core.checksums import remove_with_record
from segbench.core.disk import amount, free_bytes, require_room
from segbench.core.download import fetch, kept_bytes
from segbench.core.errors import Interrupted, MissingFault, UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.core.spec import digest
from segbench.data.facts import Archive, DatasetOptions, facts, require_split
from segbench.data.reader import locate
from segbench.data.verify import Verified, verify

from .accounts import account
from .dataset_folder import DatasetFolder
from .finishing import finish_dataset
from .ledger import Entry
from .local_archives import find_archive, verify_archive


@dataclass(frozen=True)
class _Step:
    """One archive and its origin.

    Attributes:
        archive: its facts; from another address without a digest.
        path: of the archive on this machine, now or later.
        fetched: True if it is downloaded, False if the user did that.
        unpacked_bytes: estimated size of its files.
    """

    archive: Archive
    path: Path
    fetched: bool
    unpacked_bytes: int

    @property
    def remaining_bytes(self) -> int:
        """Estimated number of bytes still to be downloaded."""
        if not self.fetched:
            return 0
        size = self.archive.size_bytes or self.unpacked_bytes  # images hardly shrink in an archive
        return max(0, size - kept_bytes(self.path, self.checksums))

    @property
    def checksums(self) -> dict[str, str]:
        """Published digests of the archive."""
        return {str(kind): value for kind, value in self.archive.checksums.items()}


def download(
    name: str,
    root: Path,
    *,
    splits: Sequence[str] = (),
    urls: Sequence[str] = (),
    replace: bool = False,
    keep_archives: bool = False,
    options: DatasetOptions | None = None,
    observer: Observer = SILENT,
    unpacked: Callable[[Entry], None] = lambda entry: None,
    command: str = "",
) -> Verified:
    """Download what is missing of a data set under ``root``/``name``, and verify the data set.

    Archives wait in ``root``/.segbench/``name`` until they are unpacked. Ones of the right name in ``root`` or in
    ``root``/``name`` are used and left where they are.

    Args:
        name: of the data set.
        root: the data root.
        splits: wanted splits; empty for all but the optional ones.
        urls: other addresses: ``ARCHIVE=URL``, or the URL alone if its last component is an archive's name or there is
            but one archive. Files from there need not have the published checksums.
        replace: move what is there aside (to ``NAME.before-N``) and start over.
        keep_archives: do not remove archives that were downloaded and unpacked.
        options: facts of the data set; None for the registered ones.
        observer: told of each archive and of the verification.
        unpacked: called with each archive as soon as it is unpacked.
        command: the command that resumes this work.

    Raises:
        UsageFault: unknown data set, split or archive.
        MissingFault: it needs a login, cannot be downloaded, or is not the published data set.
        RunFault: the disk is full or not writable, or another process works on this data set.
        Interrupted: Ctrl-C; says what is kept.
    """
    options = options or facts(name)
    command = command or f"segbench data download {name}"
    for split in splits:
        require_split(options, split)
    if not options.archives:
        raise MissingFault(f"{options.title} cannot be downloaded by segbench. {options.obtain}")
    addresses = _addresses(urls, options, name)
    replace_command = command if replace else f"{command} --replace"
    target = DatasetFolder(name, root, options=options, next=command, replace_command=replace_command)
    wanted = splits or [split for split in options.splits if split not in options.optional]
    if target.needed(wanted, replace=replace):
        with target.locked():
            needed = target.needed(wanted, replace=replace)
            steps = [_step(target, archive, addresses.get(archive.name), needed, options) for archive in needed]
            _run(steps, target, options, replace, keep_archives, observer, unpacked, command)
    target.finish()
    folder = locate(name, root)
    if folder is not None and target.ledger() is not None:
        finish_dataset(name, folder, observer=observer)
    progress = observer.counter(f"{name}: verify", "pairs")
    return verify(name, root, splits=splits or None, options=options, progress=progress)


def _run(
    steps: Sequence[_Step],
    target: DatasetFolder,
    options: DatasetOptions,
    replace: bool,
    keep_archives: bool,
    observer: Observer,
    unpacked: Callable[[Entry], None],
    command: str,
) -> None:
    """Fetch and unpack one archive after the other, if there is room for all of them."""
    if not replace:
        target.require_own()
    _announce(steps, target, options, observer)
    require_room(target.path, _peak_bytes(steps, keep=keep_archives), what=options.title, next=command)
    with ExitStack() as clients:
        sessions: dict[str, httpx.Client] = {}
        for number, step in enumerate(steps, 1):
            try:
                size = f"  {amount(step.archive.size_bytes)}" if step.archive.size_bytes else ""
                observer.announce(f"{step.archive.name}{size}", number, len(steps))
                sha256 = _fetch(step, sessions, clients, observer, command)
                unpacked(_unpack(target, step, sha256, replace=replace, observer=observer))
            except KeyboardInterrupt:
                raise Interrupted(_kept(steps, number - 1, target), next=command) from None
            if step.fetched and not keep_archives:
                step.path.unlink()


def _addresses(urls: Iterable[str], options: DatasetOptions, name: str) -> dict[str, str]:
    """Return the addresses given by the user by archive name."""
    names = [archive.name for archive in options.archives]
    found: dict[str, str] = {}
    for given in urls:
        archive, _, url = given.partition("=")
        if archive not in names:
            archive, url = PurePosixPath(given.partition("?")[0]).name, given
        if archive not in names and len(names) == 1:
            archive = names[0]
        if archive not in names:
            known = ", ".join(names)
            fault = f"{options.title} has several archives; say which one {given} is, as ARCHIVE=URL: {known}."
            raise UsageFault(fault, next="segbench data download --help")
        if not url.startswith(("http://", "https://")):
            fault = f"{url} is not an http or https address; for an archive on this machine use --from."
            raise UsageFault(fault, next=f"segbench data prepare {name} --from FILE")
        found[archive] = url
    return found


def _step(
    target: DatasetFolder, archive: Archive, url: str | None, needed: Sequence[Archive], options: DatasetOptions
) -> _Step:
    unpacked_bytes = _unpacked_bytes(archive, needed, options)
    if url is not None:
        # A mirror may pack the same files differently: the published checksum is that of the published file.
        other = archive.model_copy(update={"urls": (url,), "checksums": {}, "size_bytes": None, "account": None})
        return _Step(other, target.work / f"{digest(url)}-{archive.name}", True, unpacked_bytes)
    found = find_archive((target.path, target.path.parent), archive)
    return _Step(archive, found or target.work / archive.name, found is None, unpacked_bytes)


def _unpacked_bytes(archive: Archive, needed: Sequence[Archive], options: DatasetOptions) -> int:
    """Estimate the size of an archive's files: published, else the archive's own, else its share of what is left."""
    known = {item.name: item.unpacked_bytes or item.size_bytes for item in needed}
    size = known[archive.name]
    if size is None:
        others = [value for value in known.values() if value]
        return max(0, options.size_bytes - sum(others)) // (len(known) - len(others))
    return min(size, options.size_bytes)


def _peak_bytes(steps: Sequence[_Step], *, keep: bool) -> int:
    """Return the most room that is needed at a time: for an archive and its files, beside those of the ones before."""
    peak = taken = 0
    for step in steps:
        peak = max(peak, taken + step.remaining_bytes + step.unpacked_bytes)
        taken += step.unpacked_bytes + (step.remaining_bytes if keep else 0)
    return peak


def _announce(steps: Sequence[_Step], target: DatasetFolder, options: DatasetOptions, observer: Observer) -> None:
    fetched = [step for step in steps if step.fetched]
    about = "" if all(step.archive.size_bytes for step in fetched) else "about "
    if fetched:
        archives = f"{len(fetched)} archive{'s' * (len(fetched) > 1)}"
        size = amount(sum(step.remaining_bytes for step in fetched))
        observer.note(f"{options.title}: {archives}, {about}{size} to download")
    for step in steps:
        if not step.fetched:
            observer.note(f"{options.title}: {step.path} is used and stays there")
    unpacked = amount(sum(step.unpacked_bytes for step in steps))
    observer.note(f"about {unpacked} unpacked, in {target.path} ({amount(free_bytes(target.path))} free)")


def _fetch(step: _Step, sessions: dict[str, httpx.Client], clients: ExitStack, observer: Observer, command: str) -> str:
    """Download the archive, or verify one of the user's; return its SHA-256."""
    archive = step.archive
    if not step.fetched:
        count = observer.counter(f"{archive.name}: check", "bytes")
        return verify_archive(step.path, archive, progress=count, next=command)
    urls, checksums, refusal, client = list(archive.urls), step.checksums, "", None
    if archive.account is not None:
        site = account(archive.account)
        if archive.account not in sessions:
            sessions[archive.account] = clients.enter_context(closing(site.session(next=command)))
        client = sessions[archive.account]
        urls, refusal = [site.address(url) for url in urls], site.REFUSAL
        # The site knows the file that it hands out today; the digest in the facts may be of an older one.
        checksums = site.checksum(client, archive) or checksums
    return fetch(
        urls,
        step.path,
        checksums=checksums,
        client=client,
        room_bytes=step.unpacked_bytes,
        refusal=refusal,
        progress=observer.counter(f"{archive.name}: download", "bytes"),
        next=command,
    )


def _unpack(target: DatasetFolder, step: _Step, sha256: str, *, replace: bool, observer: Observer) -> Entry:
    count = observer.counter(f"{step.archive.name}: unpack", "bytes")
    try:
        return target.unpack(step.archive, step.path, sha256=sha256, replace=replace, progress=count)
    except Conflict:
        raise
    except MissingFault:
        if step.fetched:  # the same archive would fail again
            remove_with_record(step.path)
        raise


def _kept(steps: Sequence[_Step], done: int, target: DatasetFolder) -> str:
    """Return a sentence on what Ctrl-C leaves."""
    kept = [f"{done} of {len(steps)} archives are unpacked in {target.path}"] if done else []
    step = steps[done]
    if step.fetched and (size := kept_bytes(step.path, step.checksums)):
        kept.append(f"{amount(size)} of {step.archive.name} are kept")
    return f"Stopped; {' and '.join(kept) or 'nothing had arrived yet'}."
