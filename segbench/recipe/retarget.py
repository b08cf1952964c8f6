"""Apply a row's protocol to another dataset."""

from typing import Any

from segbench.core import registry
from segbench.core.errors import UsageFault

from .protocol import STREAM
from .tree import Origin, Traced, flatten, pick, plain, put

_BANKS = ("regions_per_class", "pixels_per_class")
_SUBSET = ".data.subset."


def retarget(tree: dict[str, Any], name: str) -> None:
    """Change a valid tree to another data set, in place; every change is a traced value, from which deviations follow.

    - Crops and windows are limited to the image size, if all images have the same.
    - Settings specific to the old data set are dropped: its variant of the class table, a size that images are resized
      to, named class weights, splits that the new one lacks, excluded classes without a namesake.
    - A bank with one key per training image, or a multiple of that, gets the same per image of the new ones.
    - A labelled subset keeps its share of the images; they are drawn at random, as only the old list has an order.
    - A classifier of the initial weights' file is left out, as it is of the old classes.
    - Images that are halved, say, because the old ones are large keep at least the pixels that were left.
    - The evaluation uses the split that is usually reported for the new data set.

    Raises:
        UsageFault: no such data set, or the row trains on several, whose part the new one cannot take alike.
    """
    facts: Any = registry.options_of("dataset", name)()
    _require_one_data_set(plain(tree), name)
    origin = Origin(f"on {name}", f"--on {name}")
    published = plain(tree)
    for path, value in flatten(published).items():
        wanted = _changed(path, value, name, facts)
        if value and path.rpartition(".")[2] in (*_BANKS, "exclude_classes"):
            wanted = _of_method(path, value, _data_of(published, path), facts)
        elif _SUBSET in f".{path}":
            wanted = _of_subset(path, value, _data_of(published, path.partition(_SUBSET)[0]), facts)
        elif path.endswith("data.scale"):
            wanted = _scale(value, _data_of(published, path), facts)
        if wanted != value:
            put(tree, path, Traced(wanted, origin))
    split = facts.reported if facts.reported in facts.splits else list(facts.splits)[-1]
    if "data" in tree and "schedule" in tree and pick(plain(tree), "evaluation.split") != split:
        put(tree, "evaluation.split", Traced(split, origin))


def _data_of(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the data that the method at a path is trained on."""
    stage = path.partition(".method.")[0] if path.startswith("stages.") else ""
    places = [f"{stage}.streams.{STREAM}.data", f"{stage}.data"] if stage else []
    found: dict[str, Any] = {}
    for place in ("data", *reversed(places)):
        found |= pick(tree, place, {})
    return found


def _of_method(path: str, value: Any, data: dict[str, Any], facts: Any) -> Any:
    """Return a method's value for the new data."""
    old: Any = registry.options_of("dataset", data["name"])()
    if path.endswith(".exclude_classes"):
        before, now = old.class_slugs(data.get("classes")), facts.class_slugs()
        return [now.index(before[label]) for label in value if label < len(before) and before[label] in now]
    splits = data.get("splits", ["train"])
    images, others = old.images_of(splits), facts.images_of(_kept(splits, facts))
    return value // images * others if images and others and value % images == 0 else value


def _of_subset(path: str, value: Any, data: dict[str, Any], facts: Any) -> Any:
    """Return a value of a labelled subset: as large a share of the new images, drawn at random."""
    field = path.rpartition(".")[2]
    if field == "count":
        old: Any = registry.options_of("dataset", data["name"])()
        splits = data.get("splits", ["train"])
        images, others = old.images_of(splits), facts.images_of(_kept(splits, facts))
        return max(1, round(value / images * others)) if images and others else value
    return {"rule": "random", "order": "sorted", "num_shards": None, "take_shards": None}.get(field, value)


def _scale(value: float, data: dict[str, Any], facts: Any) -> float:
    """Return the factor that leaves images as high as before, but enlarges none."""
    old: Any = registry.options_of("dataset", data["name"])()
    if value >= 1 or not old.native_size or not facts.native_size:
        return value
    return min(1.0, value * old.native_size[0] / facts.native_size[0])


def _require_one_data_set(tree: dict[str, Any], name: str) -> None:
    """Raise UsageFault if a stage has streams of several data sets: one would get the labels that the other lacks."""
    main = pick(tree, "data.name")
    names = {value for path, value in flatten(tree).items() if ".streams." in path and path.endswith(".data.name")}
    others = names - {main, None}
    if others:
        both = " and ".join(map(str, (main, *sorted(others))))
        raise UsageFault(f"The row trains on {both}; --on {name} cannot stand for both.", next="segbench list")


def _kept(splits: Any, facts: Any) -> list[str]:
    """Return the splits that the new data set has too."""
    return [split for split in splits if split in facts.splits] or ["train"]


def _changed(path: str, value: Any, name: str, facts: Any) -> Any:
    """Return one value for the new data."""
    section, _, field = path.rpartition(".")
    in_data = section.split(".")[-1] == "data"
    if in_data and field == "name":
        return name
    if (in_data and field in ("classes", "size")) or path == "evaluation.size":
        return None
    if in_data and field == "splits":
        return _kept(value, facts)
    if path.endswith("weights.classifier"):
        return False  # of the old classes
    if field == "class_weights" and (not isinstance(value, str) or value in registry.names("dataset")):
        return None  # numbers of the old data, or their name; a rule that finds them in any data stays
    sized = field == "crop" or path in ("evaluation.window", "evaluation.stride")
    if sized and value and facts.native_size:
        return [min(int(side), limit) for side, limit in zip(value, facts.native_size, strict=True)]
    return value
