"""Assembly of a data set from what the user has: official archives, or an extracted folder. Free of torch."""

import shlex
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from segbench.core.errors import Interrupted, MissingFault, RunFault, UsageFault
from segbench.core.progress import SILENT, Observer
from segbench.data.facts import Archive, DatasetOptions, facts, require_split
from segbench.data.handle import find_dataset
from segbench.data.places import data_root
from segbench.data.presence import presence
from segbench.data.reader import locate, require_folder

from .dataset_folder import DatasetFolder
from .ledger import Entry
from .local_archives import find_archive, identify_archive, verify_archive


def assemble(
    name: str,
    root: Path,
    sources: Sequence[Path] = (),
    *,
    splits: Sequence[str] = (),
    replace: bool = False,
    options: DatasetOptions | None = None,
    observer: Observer = SILENT,
    unpacked: Callable[[Entry], None] = lambda entry: None,
    command: str = "",
) -> Path:
    """Assemble the data set under the data root and return its folder, which is not verified here.

    Archives are unpacked into ``root``/``name``; an extracted folder is linked to from there. Nothing of the user's
    is moved, changed or deleted.

    Args:
        name: of the data set.
        root: the data root.
        sources: official archives, folders that hold some, or one extracted folder (as the archives unpack, or as
            other projects arrange it). Archives in ``root`` or ``root``/``name`` need not be named.
        splits: wanted splits; empty for all but the optional ones.
        replace: move what is there aside (to ``NAME.before-N``).
        options: facts of the data set; None for the registered ones.
        observer: told of each archive.
        unpacked: called with each archive as soon as it is unpacked.
        command: the command that resumes this work.

    Raises:
        UsageFault: unknown data set or split, or both archives and an extracted folder.
        MissingFault: nothing there, a source that does not belong to the data set, or a missing or damaged archive.
        RunFault: the folder is in use for something else, the disk is full or not writable, or another process works
            on this data set.
        Interrupted: Ctrl-C; says what is kept.
    """
    options = options or facts(name)
    command = command or _command(name, root, sources, splits)
    for split in splits:
        require_split(options, split)
    wanted = list(splits) or [split for split in options.splits if split not in options.optional]
    replace_command = command if replace else f"{command} --replace"
    target = DatasetFolder(name, root, options=options, next=command, replace_command=replace_command)
    archives, folder = _sort(sources, name, wanted, options)
    if folder is not None:
        with target.locked():
            return _link(target, folder, name, root, options, replace, replace_command)
    for archive, _ in archives.values():  # one that was named is wanted
        wanted += [split for split in archive.splits if not set(archive.splits) & set(wanted)]
    needed = target.needed(wanted, replace=replace and bool(sources))
    for archive in needed:
        found = find_archive((target.path, root), archive)
        if found is not None:
            archives.setdefault(archive.name, (archive, found))
    if not archives:
        return require_folder(name, root, options)
    with target.locked():
        _unpack(target, wanted, archives, replace, observer, unpacked, command, replace_command)
        missing = [item.name for item in target.needed(wanted, replace=False)]
        target.finish()
    if missing:
        fault = f"{options.title} still lacks {', '.join(missing)}; what was unpacked is kept in {target.path}."
        raise MissingFault(fault, next=f"segbench data prepare {name} --from {missing[0]}")
    return require_folder(name, root, options)


def _command(name: str, root: Path, sources: Sequence[Path], splits: Sequence[str]) -> str:
    """Return the command line of this very work."""
    words = ["segbench", "data", "prepare", name]
    words += [word for path in sources for word in ("--from", str(path))]
    words += [word for split in splits for word in ("--split", split)]
    return shlex.join(words if root == data_root() else [*words, "--data-root", str(root)])


def _sort(
    sources: Sequence[Path], name: str, wanted: Sequence[str], options: DatasetOptions
) -> tuple[dict[str, tuple[Archive, Path]], Path | None]:
    """Return the archives among the sources by name, or the one extracted folder."""
    again = f"segbench data prepare {name} --from PATH"
    archives: dict[str, tuple[Archive, Path]] = {}
    folders: list[Path] = []
    for source in (path.expanduser().absolute() for path in sources):
        if source.is_file():
            archive = identify_archive(source, options, next=again)
            archives[archive.name] = archive, source
        elif source.is_dir():
            inside = {
                item.name: (item, source / item.name) for item in options.archives if find_archive([source], item)
            }
            if inside and not _has_all(name, source, wanted, options):
                archives |= inside
            else:
                folders.append(source)
        else:
            raise MissingFault(f"There is no {source}.", next=again)
    if len(folders) > 1 or (folders and archives):
        fault = f"Give archives or one extracted folder, not both: {', '.join(map(str, sources))}."
        raise UsageFault(fault, next=again)
    return archives, folders[0] if folders else None


def _unpack(
    target: DatasetFolder,
    wanted: Sequence[str],
    archives: dict[str, tuple[Archive, Path]],
    replace: bool,
    observer: Observer,
    unpacked: Callable[[Entry], None],
    command: str,
    replace_command: str,
) -> None:
    """Unpack the archives that are not yet unpacked, also ones that no wanted split needs: the user named them."""
    ledger = target.ledger()
    replace = replace and not (ledger and ledger.replacing)
    if ledger is None and not replace and not target.is_empty() and not target.needed(wanted, replace=False):
        if target.whole_splits(wanted) >= set(wanted):
            return
        fault = f"{target.path} exists and was not made by segbench; nothing is written to it."
        raise RunFault(fault, next=replace_command)
    if not replace:
        target.require_own()
    todo = [pair for pair in archives.values() if replace or ledger is None or not ledger.holds(pair[0])]
    for number, (archive, path) in enumerate(todo, 1):
        observer.announce(f"{path}", number, len(todo))
        try:
            count = observer.counter(f"{archive.name}: check", "bytes")
            sha256 = verify_archive(path, archive, progress=count, next=command)
            count = observer.counter(f"{archive.name}: unpack", "bytes")
            unpacked(target.unpack(archive, path, sha256=sha256, replace=replace, progress=count))
        except KeyboardInterrupt:
            text = f"Stopped; {number - 1} of {len(todo)} archives are unpacked in {target.path}."
            raise Interrupted(text, next=command) from None


def _link(
    target: DatasetFolder,
    source: Path,
    name: str,
    root: Path,
    options: DatasetOptions,
    replace: bool,
    replace_command: str,
) -> Path:
    """Make the data set's folder a link to an extracted one, if the reader finds the data there."""
    if target.path.exists() and target.path.resolve() == source.resolve():
        return require_folder(name, root, options)
    with tempfile.TemporaryDirectory(dir=target.work) as probe:
        link = Path(probe) / name
        for aim in dict.fromkeys((locate(name, source) or source, source)):
            _symlink(link, aim, root / name)
            if _has_any(name, Path(probe), options):
                break
            link.unlink()
        else:
            raise MissingFault(
                f"{source} holds neither an archive of {options.title} nor its files in a layout that segbench knows.",
                next=f"segbench data list {name}",
            )
        if target.path.exists() and target.path.resolve() == link.resolve():
            return require_folder(name, root, options)
        if target.path.is_symlink() or target.path.exists():
            if not replace:
                fault = f"{target.path} exists and stays as it is; {source} is not linked to."
                raise RunFault(fault, next=replace_command)
            target.move_aside(with_archives=True)  # the place itself is needed
        link.rename(target.path)
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


def _has_all(name: str, root: Path, splits: Sequence[str], options: DatasetOptions) -> bool:
    """Return True if the reader finds every file of the splits under a data root."""
    dataset = find_dataset(name, root, options=options)
    found = presence(dataset, splits).splits
    return dataset.folder is not None and all(split.pairs and not split.absent for split in found)


def _has_any(name: str, root: Path, options: DatasetOptions) -> bool:
    """Return True if the reader finds at least one image with its label under a data root."""
    return any(split.found for split in presence(find_dataset(name, root, options=options)).splits)
