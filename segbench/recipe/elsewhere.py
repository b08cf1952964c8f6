"""A row on other data than it was published on: its method and schedule, where its own data cannot be had."""

from typing import Any

from segbench.core import registry

from .protocol import Origin, Traced, flatten, pick, plain, put


def move(tree: dict[str, Any], name: str) -> None:
    """Put a valid tree on another data set, in place; each change is a traced value and becomes a deviation.

    - Crops and windows are no larger than the images, where these are all of one size.
    - What belongs to the old data set alone goes: its variant of the class table, a size that images are brought to,
      class weights by name, splits that the new one lacks.
    - It is scored on the split that is usual for the new data set.

    Raises:
        UsageFault: no such data set.
    """
    facts: Any = registry.options_of("dataset", name)()
    origin = Origin(f"on {name}", f"--on {name}")
    published = flatten(plain(tree))
    for path, value in published.items():
        wanted = _moved(path, value, name, facts)
        if wanted != value:
            put(tree, path, Traced(wanted, origin))
    split = facts.reported if facts.reported in facts.splits else list(facts.splits)[-1]
    if "data" in tree and "schedule" in tree and pick(plain(tree), "evaluation.split") != split:
        put(tree, "evaluation.split", Traced(split, origin))


def _moved(path: str, value: Any, name: str, facts: Any) -> Any:
    """What becomes of one value."""
    section, _, field = path.rpartition(".")
    in_data = section.split(".")[-1] == "data"
    if in_data and field == "name":
        return name
    if (in_data and field in ("classes", "size")) or path == "evaluation.size":
        return None
    if in_data and field == "splits":
        kept = [split for split in value if split in facts.splits]
        return kept or ["train"]
    if field == "class_weights":
        return None
    sized = field == "crop" or path in ("evaluation.window", "evaluation.stride")
    if sized and value and facts.native_size:
        return [min(int(side), limit) for side, limit in zip(value, facts.native_size, strict=True)]
    return value
