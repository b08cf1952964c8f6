"""Assignment of a table's classes to roles in a street scene."""

from dataclasses import dataclass
from functools import cache

from segbench.data.classes import IGNORE, ClassTable

# Role in the scene to the classes that may have it, best first. A table without a class for a role uses its
# background class, if it has one; otherwise the role is not drawn.
_CANDIDATES: dict[str, tuple[str, ...]] = {
    "sky": ("sky", "sky_other"),
    "road": ("road",),
    "pavement": ("pavement", "sidewalk"),
    "building": ("building", "building_other"),
    "wall": ("wall", "wall_concrete", "building"),
    "fence": ("fence", "railing"),
    "pole": ("pole",),
    "sign": ("sign_symbol", "traffic_sign", "sign", "signboard", "stop_sign"),
    "traffic_light": ("traffic_light", "sign_symbol", "light"),
    "tree": ("tree", "vegetation"),
    "terrain": ("terrain", "grass", "tree"),
    "person": ("pedestrian", "person"),
    "rider": ("rider", "bicyclist", "person"),
    "bicycle": ("bicycle", "bicyclist"),
    "motorcycle": ("motorcycle", "motorbike", "minibike", "bicyclist"),
    "car": ("car",),
    "truck": ("truck", "car"),
    "bus": ("bus", "car"),
    "train": ("train", "car"),
}
_GROUND_AND_WALLS = ("sky", "road", "pavement", "building", "terrain")


@dataclass(frozen=True)
class Roles:
    """Roles of the scene by train id.

    Attributes:
        label: role to train id; a missing role is not drawn. Sky, ground and houses are always drawn, with label 255 if
            the table has no class for them.
        others: train ids without a role; they are drawn as textured things.
        slugs: slugs of all classes.
    """

    label: dict[str, int]
    others: tuple[int, ...]
    slugs: tuple[str, ...]


@cache
def roles_of(table: ClassTable) -> Roles:
    """Assign the classes of a table to the roles of the scene."""
    ids = {slug: train_id for train_id, slug in enumerate(table.slugs)}
    label: dict[str, int] = {}
    for role, candidates in _CANDIDATES.items():
        found = next((ids[slug] for slug in candidates if slug in ids), ids.get("background"))
        if found is None and role in _GROUND_AND_WALLS:
            found = IGNORE
        if found is not None:
            label[role] = found
    others = tuple(sorted(set(ids.values()) - set(label.values())))
    return Roles(label, others, table.slugs)
