"""Get a data set: fetch its archives one after the other, unpack what is needed, check it. Free of torch."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from segbench.core.archive import Conflict
from segbench.core.disk import amount, free_bytes, require_room
from segbench.core.download import fetch, forget, kept_bytes
from segbench.core.errors import Interrupted, MissingFault, UsageFault
from segbench.core.registry import implementation
from segbench.core.spec import digest
from segbench.data.facts import Archive, DatasetOptions, facts, require_split
from segbench.data.reader import locate
from segbench.data.verify import Verified, verify

from .accounts import account
from .byhand import lying_in, prove
from .ledger import Entry
from .listener import SILENT, Listener
from .site import Site


@dataclass(frozen=True)
class _Step:
    """One archive and where it comes from.

    Attributes:
        archive: facts of it; with another address, its digest is not known.
        path: where it lies, or shall.
        fetched: whether it is fetched; else the user did.
        unpacked: about how many bytes its files take.
    """

    archive: Archive
    path: Path
    fetched: bool
    unpacked: int

    @property
    def coming(self) -> int:
        """About how many bytes are still to be fetched."""
        if not self.fetched:
            return 0
        size = self.archive.size_bytes or self.unpacked  # images hardly shrink in an archive
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
    listener: Listener = SILENT,
    unpacked: Callable[[Entry], None] = lambda entry: None,
    command: str = "",
) -> Verified:
    """Make the data set complete under ``root``/``name``; does nothing but check if it is.

    Archives wait in ``root``/.segbench/``name`` until they are unpacked. Ones of the right name in ``root`` or in
    ``root``/``name`` are taken and left where they are.

    Args:
        name: of the data set.
        root: the data root.
        splits: what shall be complete; empty for all splits but the optional ones.
        urls: other addresses: ``ARCHIVE=URL``, or the URL alone if its last part is an archive's name or there is
            but one archive. No published checksum is asked of what comes from there.
        replace: move what is there aside (to ``NAME.before-N``) and begin anew.
        keep_archives: do not remove them.
        options: facts of the data set; None for the registered ones.
        listener: told what goes on.
        unpacked: called with each archive as soon as it is unpacked.
        command: that goes on with this very work.

    Raises:
        UsageFault: unknown data set, split or archive.
        MissingFault: needs a login, cannot be fetched, or is not what it should be.
        RunFault: no room on the disk, or another process is at it.
        Interrupted: Ctrl-C; says what is kept.
    """
    options = options or facts(name)
    command = command or f"segbench data download {name}"
    for split in splits:
        require_split(options, split)
    if not options.archives:
        raise MissingFault(f"{options.title} cannot be fetched by the program. {options.obtain}")
    elsewhere = _addresses(urls, options, name)
    anew = command if replace else f"{command} --replace"
    site = Site(name, root, options=options, next=command, anew=anew)
    wanted = splits or [split for split in options.splits if split not in options.optional]
    if site.needed(wanted, replace=replace):
        with site.locked():
            needed = site.needed(wanted, replace=replace)
            steps = [_step(site, archive, elsewhere.get(archive.name), needed, options) for archive in needed]
            _work(steps, site, options, replace, keep_archives, listener, unpacked, command)
    site.finish()
    _finish(name, root, site, listener)
    progress = listener.counter(f"{name}: verify", "pairs")
    return verify(name, root, splits=splits or None, options=options, progress=progress)


def _work(
    steps: Sequence[_Step],
    site: Site,
    options: DatasetOptions,
    replace: bool,
    keep_archives: bool,
    listener: Listener,
    unpacked: Callable[[Entry], None],
    command: str,
) -> None:
    """Fetch and unpack one archive after the other, after a look at the room there is for all of them."""
    if not replace:
        site.require_own()
    _announce(steps, site, options, listener)
    require_room(site.folder, _peak(steps, keep=keep_archives), what=options.title, next=command)
    with ExitStack() as clients:
        sessions: dict[str, httpx.Client] = {}
        for number, step in enumerate(steps, 1):
            try:
                size = f"  {amount(step.archive.size_bytes)}" if step.archive.size_bytes else ""
                listener.announce(f"{step.archive.name}{size}", number, len(steps))
                sha256 = _get(step, sessions, clients, listener, command)
                unpacked(_unpack(site, step, sha256, replace=replace, listener=listener))
            except KeyboardInterrupt:
                raise Interrupted(_kept(steps, number - 1, site), next=command) from None
            if step.fetched and not keep_archives:
                step.path.unlink()


def _addresses(urls: Iterable[str], options: DatasetOptions, name: str) -> dict[str, str]:
    """Archive name to the address that was given for it."""
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
            fault = f"{url} is no http or https address; an archive on this machine is taken with --from."
            raise UsageFault(fault, next=f"segbench data prepare {name} --from FILE")
        found[archive] = url
    return found


def _step(site: Site, archive: Archive, url: str | None, needed: Sequence[Archive], options: DatasetOptions) -> _Step:
    takes = _unpacked_bytes(archive, needed, options)
    if url is not None:
        # A mirror may pack the same files differently: the published checksum is that of the published file.
        other = archive.model_copy(update={"urls": (url,), "checksums": {}, "size_bytes": None, "account": None})
        return _Step(other, site.work / f"{digest(url)}-{archive.name}", True, takes)
    lying = lying_in((site.folder, site.folder.parent), archive)
    return _Step(archive, lying or site.work / archive.name, lying is None, takes)


def _unpacked_bytes(archive: Archive, needed: Sequence[Archive], options: DatasetOptions) -> int:
    """About what an archive's files take: published, else the archive's own size, else its share of what is left."""
    known = {item.name: item.unpacked_bytes or item.size_bytes for item in needed}
    size = known[archive.name]
    if size is None:
        others = [value for value in known.values() if value]
        return max(0, options.size_bytes - sum(others)) // (len(known) - len(others))
    return min(size, options.size_bytes)


def _peak(steps: Sequence[_Step], *, keep: bool) -> int:
    """Bytes that are taken at the worst moment: an archive and its files, beside those of the ones before."""
    peak = taken = 0
    for step in steps:
        peak = max(peak, taken + step.coming + step.unpacked)
        taken += step.unpacked + (step.coming if keep else 0)
    return peak


def _announce(steps: Sequence[_Step], site: Site, options: DatasetOptions, listener: Listener) -> None:
    fetched = [step for step in steps if step.fetched]
    published = all(step.archive.size_bytes for step in fetched)
    about = "" if published else "about "
    if fetched:
        many = f"{len(fetched)} archive{'s' * (len(fetched) > 1)}"
        listener.note(f"{options.title}: {many}, {about}{amount(sum(step.coming for step in fetched))} to fetch")
    for step in steps:
        if not step.fetched:
            listener.note(f"{options.title}: {step.path} is taken as it lies there")
    takes = amount(sum(step.unpacked for step in steps))
    listener.note(f"about {takes} when unpacked, into {site.folder} ({amount(free_bytes(site.folder))} free)")


def _get(step: _Step, sessions: dict[str, httpx.Client], clients: ExitStack, listener: Listener, command: str) -> str:
    """Have the archive where it shall be; returns its SHA-256."""
    archive = step.archive
    if not step.fetched:
        return prove(step.path, archive, progress=listener.counter(f"{archive.name}: check", "bytes"), next=command)
    urls, checksums, refusal, client = list(archive.urls), step.checksums, "", None
    if archive.account is not None:
        owner = account(archive.account)
        if archive.account not in sessions:
            sessions[archive.account] = clients.enter_context(closing(owner.session(next=command)))
        client = sessions[archive.account]
        urls, refusal = [owner.address(url) for url in urls], owner.REFUSAL
        # The account's site knows the file that it hands out today; the digest in the facts may be of an older one.
        checksums = owner.checksum(client, archive) or checksums
    return fetch(
        urls,
        step.path,
        checksums=checksums,
        client=client,
        room_bytes=step.unpacked,
        refusal=refusal,
        progress=listener.counter(f"{archive.name}: download", "bytes"),
        next=command,
    )


def _finish(name: str, root: Path, site: Site, listener: Listener) -> None:
    """What some data sets have left to do when their archives are unpacked; nothing where that is done."""
    left = getattr(implementation("dataset", name, "reader"), "finish", None)
    folder = locate(name, root)
    if left is not None and folder is not None and site.ledger() is not None:
        progress = listener.counter(f"{name}: masks", "masks")
        left(folder, progress=lambda done: progress(done, None))


def _unpack(site: Site, step: _Step, sha256: str, *, replace: bool, listener: Listener) -> Entry:
    progress = listener.counter(f"{step.archive.name}: unpack", "bytes")
    try:
        return site.unpack(step.archive, step.path, sha256=sha256, replace=replace, progress=progress)
    except Conflict:
        raise
    except MissingFault:
        if step.fetched:  # the same archive would fail again
            forget(step.path)
        raise


def _kept(steps: Sequence[_Step], done: int, site: Site) -> str:
    """What Ctrl-C does not lose, as a sentence."""
    parts = [f"{done} of {len(steps)} archives are unpacked in {site.folder}"] if done else []
    step = steps[done]
    if step.fetched and (have := kept_bytes(step.path, step.checksums)):
        parts.append(f"{amount(have)} of {step.archive.name} are kept")
    return f"Stopped; {' and '.join(parts) or 'nothing had arrived yet'}."
