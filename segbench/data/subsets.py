"""Choice of the labelled images of a list. Free of torch.

The rules are those of ``core.spec.SubsetSpec``. A choice is a function of the names and the spec alone, so it is the
same on every machine; a training stores it beside its weights.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from segbench.core.errors import InvalidFault, MissingFault
from segbench.core.registry import close_names
from segbench.core.spec import DataSpec, SubsetSpec
from segbench.core.to_fetch import ToFetch
from segbench.data.fetching import resources

from .classes import ClassTable
from .fetching.pickled import read_integers
from .handle import DatasetHandle
from .reader import Pair

_WORKERS = 8

# The permutations of Shathe/SemiSeg-Contrastive index a sorted list of VOC's trainaug and give the authors' images;
# those of Cityscapes index a directory listing that cannot be reproduced, so here they give other images.
_PUBLISHED = {
    "cityscapes": ("semiseg-splits", "city/split_{draw}.pkl", "labelled-split-cityscapes"),
    "voc2012": ("semiseg-splits", "voc/split_{draw}.pkl", "labelled-split-voc"),
}
_DRAWS = 3


def seeded(data: DataSpec, seed: int) -> DataSpec:
    """Return the spec with its draw set to the seed of the training, unless it has one."""
    if data.subset is None or data.subset.draw is not None:
        return data
    return data.model_copy(update={"subset": data.subset.model_copy(update={"draw": seed})})


def choose(
    subset: SubsetSpec,
    keys: Sequence[str],
    *,
    dataset: str,
    official: int | None,
    shown: Callable[[], np.ndarray],
) -> list[int]:
    """Return the positions of the labelled images in ``keys``, ascending.

    Generated scenes have no published order: whatever the rule, they are drawn at random.

    Args:
        subset: number and rule.
        keys: names of all images.
        dataset: name of the data set, for the published permutations.
        official: number of images that the list must have if a rule cuts it; None for generated scenes.
        shown: returns the classes that each image shows, bool (len(keys), classes); only for the rule ``balanced``.

    Raises:
        InvalidFault: the list is too short or not the official one, or nothing is published for it.
        MissingFault: the published permutation is not here and cannot be fetched.
    """
    count, draw = len(keys), subset.draw
    if draw is None:
        raise InvalidFault("subset: the draw is the seed of a training, and there is no training here.")
    if subset.count > count:
        raise InvalidFault(f"subset: count {subset.count:,} is more than the {count:,} images there are.")
    if subset.rule == "list":
        return _listed(subset.keys, keys, dataset)
    if subset.rule == "random" or official is None:
        return sorted(_shuffled(draw, count)[: subset.count].tolist())
    if subset.rule == "balanced":
        return balanced(shown(), subset.count, draw=draw)
    if count != official:
        fault = f"subset: the rule {subset.rule} cuts the official list of {official:,} images, this one has {count:,}."
        raise InvalidFault(fault, next=f"segbench data verify {dataset}")
    place = sorted(range(count), key=keys.__getitem__)
    if subset.rule == "permutation":
        order = published(dataset, draw, count)
    else:
        order = np.arange(count) if subset.order == "sorted" else _shuffled(draw, count, subset.num_shards or 1)
        taken_shards = shards(count, subset.num_shards or 1)[: subset.take_shards]
        if taken_shards[-1].stop != subset.count:
            taken = f"{subset.take_shards} of {subset.num_shards} shards of {count:,} images"
            raise InvalidFault(f"subset: {taken} are {taken_shards[-1].stop:,} images, not {subset.count:,}.")
    return sorted(place[index] for index in order[: subset.count])


def _listed(wanted: Sequence[str], keys: Sequence[str], dataset: str) -> list[int]:
    """Return the positions of named images.

    Raises:
        InvalidFault: a line for each name that no image has, up to three, with close ones.
    """
    places = {key: index for index, key in enumerate(keys)}
    unknown = [key for key in wanted if key not in places]
    if unknown:
        faults = []
        for key in unknown[:3]:
            close = close_names(key, list(keys))
            faults.append(
                f"subset: {dataset} has no image {key!r}." + (f" Close: {', '.join(close)}." if close else "")
            )
        more = f"subset: {len(unknown) - 3:,} more names are unknown."
        raise InvalidFault(*faults, *([more] if len(unknown) > 3 else []), next=f"segbench data verify {dataset}")
    return sorted(places[key] for key in wanted)


def shards(count: int, number: int) -> list[range]:
    """Return ``number`` shards of ceil(count / number) each, the last ones shorter or empty.

    As the public DeepLab code writes its records: two of ten have 596 of 2,975 and 2,118 of 10,582 images.
    """
    size = -(-count // number)
    return [range(min(size * shard, count), min(size * (shard + 1), count)) for shard in range(number)]


def published(dataset: str, draw: int, count: int) -> np.ndarray:
    """Return the published permutation of 0..count-1, int64 (count,).

    Raises:
        InvalidFault: none is published.
        MissingFault: it is not here and cannot be fetched, or is not valid.
    """
    if dataset not in _PUBLISHED or draw >= _DRAWS:
        known = f"{' and '.join(_PUBLISHED)}, {_DRAWS} each, numbered from 0"
        more = _PUBLISHED[dataset][2] if dataset in _PUBLISHED else "NAME"
        raise InvalidFault(
            f"subset: no permutation {draw} of {dataset} is published; there are those of {known}.",
            next=f"the same command with fewer --seeds, or --reading {more}=random-seeded",
        )
    name, path, reading = _PUBLISHED[dataset]
    path = path.format(draw=draw)
    try:
        file = resources.get(name, path)
    except MissingFault as error:
        way_out = f"It says which images the authors labelled; --reading {reading}=random-0 draws others, without it."
        raise MissingFault(*error.faults, way_out, next=error.next) from error
    try:
        order = read_integers(file.read_bytes())
    except ValueError as error:
        raise MissingFault(f"{file} {error}.", next=f"rm {file}, and type the same command again") from error
    if not np.array_equal(np.sort(order), np.arange(count)):
        raise InvalidFault(f"subset: {file} permutes {len(order):,} images, the list has {count:,}.")
    return order


def draw_fault(data: DataSpec) -> str:
    """Say that a subset of files needs a permutation that is not published, and what to do; empty if it does not."""
    subset = data.subset
    if subset is None or subset.rule != "permutation" or data.source != "folder" or subset.draw is None:
        return ""
    if data.name in _PUBLISHED and subset.draw < _DRAWS:
        return ""
    fault = f"permutation {subset.draw} of {data.name}, of which {_DRAWS} are published, for seeds 0 to {_DRAWS - 1}"
    others = f"; --reading {_PUBLISHED[data.name][2]}=random-seeded draws others" if data.name in _PUBLISHED else ""
    return fault + others


def published_need(data: DataSpec) -> ToFetch | None:
    """Return the download that a subset of files needs to know its labelled images; None if it needs none."""
    subset = data.subset
    if subset is None or subset.rule != "permutation" or data.source != "folder" or data.name not in _PUBLISHED:
        return None
    name, _, _ = _PUBLISHED[data.name]
    found = resources.RESOURCES[name]
    lacking = [file for file in found.files if not (found.folder / file.path).is_file()]
    if not lacking:
        return None
    size = sum(file.size_bytes or 0 for file in lacking) / 1e3
    return ToFetch(f"{found.title}, {size:,.0f} kB. {found.licence}", f"segbench data download {name}")


def balanced(shown: np.ndarray, number: int, *, draw: int) -> list[int]:
    """Return positions, ascending, of a choice that shows every class as often as possible.

    Greedy: each step takes the class shown by the fewest chosen images, among the classes that a remaining image shows
    (ties: the class that fewer images show in total, then the first), and adds the first remaining image that shows
    it, in an order shuffled with ``draw``. When no remaining image shows anything, the rest follows in that order. The
    rule is segbench's own; no publication describes one.

    Args:
        shown: bool (images, classes), classes that each image shows.
        number: number of images to choose.
        draw: seed of the order.
    """
    count, classes = shown.shape
    order = _shuffled(draw, count)
    waiting = [iter(order[shown[order, each]].tolist()) for each in range(classes)]
    anyone = iter(order.tolist())
    total = shown.sum(axis=0)
    have, left = np.zeros(classes, np.int64), total.copy()
    chosen = np.zeros(count, bool)
    for _ in range(number):
        rarest = min(np.flatnonzero(left).tolist(), key=lambda each: (have[each], total[each], each), default=None)
        queue = anyone if rarest is None else waiting[rarest]
        image = next(index for index in queue if not chosen[index])
        chosen[image] = True
        have += shown[image]
        left -= shown[image]
    return np.flatnonzero(chosen).tolist()


def classes_shown(dataset: DatasetHandle, listed: Sequence[Pair], table: ClassTable) -> np.ndarray:
    """Return the classes that the label files of a list show at full size: bool (len(listed), num_classes).

    Raises:
        InvalidFault: an image has no label.
        MissingFault: a label file is broken or has unknown values.
    """
    read = dataset.read_label

    def look(pair: Pair) -> np.ndarray:
        if pair.label is None:
            raise InvalidFault(f"subset: {pair.key} has no label, so the classes that it shows cannot be balanced.")
        try:
            label = table.to_train_ids(read(pair.label))
        except ValueError as error:
            fault = f"{pair.label}: label values {error} are not in class table {table.name}"
            raise MissingFault(fault, next=f"segbench data verify {dataset.name}") from None
        return np.bincount(label.ravel(), minlength=table.num_classes)[: table.num_classes] > 0

    with ThreadPoolExecutor(_WORKERS, "segbench-labels") as pool:
        return np.stack(list(pool.map(look, listed)))


def listing(subset: SubsetSpec, keys: Sequence[str], *, generated: bool) -> dict[str, Any]:
    """Return a choice for a record: its rule, and the ``sha256`` of the names, one per line.

    Args:
        subset: spec with the draw that was used.
        keys: names of the chosen images, in order.
        generated: True for generated scenes, which are drawn at random whatever the rule.
    """
    made: dict[str, Any] = {"rule": subset.rule, "order": subset.order}
    if subset.rule == "list" or generated:
        made = {"rule": "list" if subset.rule == "list" else "random"}
    if subset.rule == "shards" and not generated:
        made |= {"num_shards": subset.num_shards, "take_shards": subset.take_shards}
    text = "".join(f"{key}\n" for key in keys)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    return {"count": len(keys), **made, "draw": subset.draw, "sha256": sha256, "keys": list(keys)}


def _shuffled(*words: int) -> np.ndarray:
    """Return a permutation of 0..words[1]-1 drawn with all words as seed."""
    return np.random.default_rng(words).permutation(words[1])
