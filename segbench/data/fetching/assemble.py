"""Put a data set together from what the user already has: official archives, or an extracted folder. Free of torch."""

import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from segbench.core.errors import Interrupted, MissingFault, RunFault, UsageFault
from segbench.data.doctor.listing import list_split
from segbench.data.facts import Archive, DatasetOptions, facts, require_split
from segbench.data.places import data_root
from segbench.data.reader import locate, require_folder

from .byhand import lying_in, prove, recognise
from .ledger import Entry
from .listener import SILENT, Listener
from .site import Site


def assemble(
    name: str,
    root: Path,
    sources: Sequence[Path] = (),
    *,
    splits: Sequence[str] = (),
    replace: bool = False,
    options: DatasetOptions | None = None,
    listener: Listener = SILENT,
    unpacked: Callable[[Entry], None] = lambda entry: None,
    command: str = "",
) -> Path:
    """Have the data set under the data root, and return its folder; whether it is whole is for ``verify`` to say.

    Archives are unpacked into ``root``/``name``; an extracted folder is linked to from there. Nothing of the user's
    is moved, changed or deleted.

    Args:
        name: of the data set.
        root: the data root.
        sources: official archives, folders that hold some, or one extracted folder (as the archives unpack, or as
            other projects arrange it). Archives that simply lie in ``root`` or ``root``/``name`` need not be named.
        splits: what is wanted; empty for all splits but the optional ones.
        replace: move what is there aside (to ``NAME.before-N``).
        options: facts of the data set; None for the registered ones.
        listener: told what goes on.
        unpacked: called with each archive as soon as it is unpacked.
        command: that goes on with this very work.

    Raises:
        UsageFault: unknown data set or split, or sources that do not go together.
        MissingFault: nothing there, something that is no part of the data set, or an archive that lacks or is damaged.
        RunFault: the folder is in use for something else, the disk refuses, or another process is at it.
        Interrupted: Ctrl-C; says what is kept.
    """
    options = options or facts(name)
    command = command or _command(name, root, sources, splits)
    for split in splits:
        require_split(options, split)
    wanted = list(splits) or [split for split in options.splits if split not in options.optional]
    anew = command if replace else f"{command} --replace"
    site = Site(name, root, options=options, next=command, anew=anew)
    archives, folder = _sort(sources, name, wanted, options)
    if folder is not None:
        with site.locked():
            return _link(site, folder, name, root, options, replace, anew)
    for archive, _ in archives.values():  # one that was named is wanted
        wanted += [split for split in archive.splits if not set(archive.splits) & set(wanted)]
    needed = site.needed(wanted, replace=replace and bool(sources))
    for archive in needed:
        lying = lying_in((site.folder, root), archive)
        if lying is not None:
            archives.setdefault(archive.name, (archive, lying))
    if not archives:
        return require_folder(name, root, options)
    with site.locked():
        _unpack(site, wanted, archives, replace, listener, unpacked, command, anew)
        lacking = [item.name for item in site.needed(wanted, replace=False)]
        site.finish()
    if lacking:
        fault = f"{options.title} still lacks {', '.join(lacking)}; what was unpacked is kept in {site.folder}."
        raise MissingFault(fault, next=f"segbench data prepare {name} --from {lacking[0]}")
    return require_folder(name, root, options)


def _command(name: str, root: Path, sources: Sequence[Path], splits: Sequence[str]) -> str:
    """What is typed for this very work."""
    words = ["segbench", "data", "prepare", name]
    words += [word for path in sources for word in ("--from", str(path))]
    words += [word for split in splits for word in ("--split", split)]
    return shlex.join(words if root == data_root() else [*words, "--data-root", str(root)])


def _sort(
    sources: Sequence[Path], name: str, wanted: Sequence[str], options: DatasetOptions
) -> tuple[dict[str, tuple[Archive, Path]], Path | None]:
    """The archives among the sources, by name, or the one extracted folder."""
    archives: dict[str, tuple[Archive, Path]] = {}
    folders: list[Path] = []
    for source in (path.expanduser().absolute() for path in sources):
        if source.is_file():
            archive = recognise(source, options, next=f"segbench data prepare {name} --from PATH")
            archives[archive.name] = archive, source
        elif source.is_dir():
            inside = {item.name: (item, source / item.name) for item in options.archives if lying_in([source], item)}
            if inside and not _has(name, source, wanted, options, every=True):
                archives |= inside
            else:
                folders.append(source)
        else:
            raise MissingFault(f"There is no {source}.", next=f"segbench data prepare {name} --from PATH")
    if len(folders) > 1 or (folders and archives):
        fault = f"Give archives or one extracted folder, not both: {', '.join(map(str, sources))}."
        raise UsageFault(fault, next=f"segbench data prepare {name} --from PATH")
    return archives, folders[0] if folders else None


def _unpack(
    site: Site,
    wanted: Sequence[str],
    archives: dict[str, tuple[Archive, Path]],
    replace: bool,
    listener: Listener,
    unpacked: Callable[[Entry], None],
    command: str,
    anew: str,
) -> None:
    """Unpack those that are not yet, whatever they are for: the user named them."""
    ledger = site.ledger()
    replace = replace and not (ledger and ledger.replacing)
    if ledger is None and not replace and not site.is_blank() and not site.needed(wanted, replace=False):
        if site.whole_splits(wanted) >= set(wanted):
            return
        fault = f"{site.folder} is there already, and not of segbench's making: it is left alone."
        raise RunFault(fault, next=anew)
    if not replace:
        site.require_own()
    todo = [pair for pair in archives.values() if replace or ledger is None or not ledger.holds(pair[0])]
    for number, (archive, path) in enumerate(todo, 1):
        listener.announce(f"{path}", number, len(todo))
        try:
            check = listener.counter(f"{archive.name}: check", "bytes")
            sha256 = prove(path, archive, progress=check, next=command)
            progress = listener.counter(f"{archive.name}: unpack", "bytes")
            unpacked(site.unpack(archive, path, sha256=sha256, replace=replace, progress=progress))
        except KeyboardInterrupt:
            text = f"Stopped; {number - 1} of {len(todo)} archives are unpacked in {site.folder}."
            raise Interrupted(text, next=command) from None


def _link(site: Site, source: Path, name: str, root: Path, options: DatasetOptions, replace: bool, anew: str) -> Path:
    """Make the data set's folder a link to an extracted one, if the reader finds the data there."""
    if site.folder.exists() and site.folder.resolve() == source.resolve():
        return require_folder(name, root, options)
    with tempfile.TemporaryDirectory(dir=site.work) as probe:
        link = Path(probe) / name
        for aim in dict.fromkeys((locate(name, source) or source, source)):
            _symlink(link, aim, root / name)
            if _has(name, Path(probe), list(options.splits), options, every=False):
                break
            link.unlink()
        else:
            raise MissingFault(
                f"{source} holds neither an archive of {options.title} nor its files in a layout that segbench knows.",
                next=f"segbench data list {name}",
            )
        if site.folder.exists() and site.folder.resolve() == link.resolve():
            return require_folder(name, root, options)
        if site.folder.is_symlink() or site.folder.exists():
            if not replace:
                fault = f"{site.folder} is there already; it is left alone, and {source} is not linked to."
                raise RunFault(fault, next=anew)
            site.move_aside(with_archives=True)  # the place itself is needed
        link.rename(site.folder)
    return require_folder(name, root, options)


def _symlink(link: Path, aim: Path, folder: Path) -> None:
    try:
        link.symlink_to(aim, target_is_directory=True)
    except OSError as error:  # Windows lets only some users
        fault = (
            f"No link to {aim} can be made here ({error.strerror or error}): copy it to {folder}, or name the folder"
        )
        command = f"segbench data verify {folder.name} --data-root {aim.parent}"
        raise RunFault(f"{fault} around it as the data root.", next=command) from error


def _has(name: str, root: Path, splits: Sequence[str], options: DatasetOptions, *, every: bool) -> bool:
    """Whether the reader finds, under a data root, every split whole, or at least one whole pair."""
    folder = locate(name, root)
    if folder is None:
        return False
    lists = [list_split(name, folder, split, options) for split in splits]
    if not every:
        return any(item.whole for item in lists)
    return all(item.pairs and len(item.whole) == len(item.pairs) for item in lists)
