"""Number of times that the released optimiser listed each weight until October 2021 (SemiSeg-Contrastive).

Counted in the released networks: a list by nested modules names what lies in several of them as often.
"""

import re
from dataclasses import replace

from segbench.methods.base import ParamGroup

# The first pattern that the name begins with counts.
_TIMES = (
    (r"segmentor\.backbone\.(conv1|bn1)\.", 1),
    (r"segmentor\.backbone\.layer\d+\.\d+\.downsample\.", 4),
    (r"segmentor\.backbone\.layer\d+\.", 3),
    (r"segmentor\.decoder\.branches\.", 3),
    (r"segmentor\.decoder\.aspp\.project\.", 2),
    (r"segmentor\.decoder\.aspp\.", 3),
    (r"segmentor\.decoder\.fuse\.", 3),
    (r"segmentor\.decoder\.(low|classifier)\.", 2),
    (r"heads\.", 2),
)


def updates_of(group: ParamGroup) -> list[ParamGroup]:
    """Split a group by the number of updates of a step; a weight of another network is updated once."""
    split: dict[int, ParamGroup] = {}
    for name, parameter in group.params:
        times = next((times for pattern, times in _TIMES if re.match(pattern, name)), 1)
        if times not in split:
            split[times] = replace(group, name=f"{group.name} x{times}", params=[], updates_per_step=times)
        split[times].params.append((name, parameter))
    return list(split.values())
