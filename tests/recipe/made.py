"""A made table, to be changed and broken."""

HEAD = """\
schema: 1
version: 1
table: made-one
title: A made table
source: nowhere
data: {name: camvid}
model: {backbone: {name: hrnetv2}, decoder: {name: concat}}
method: {name: contextrast}
schedule: {steps: 100, batch_total: 4, crop: [64, 64], optimizer: {name: sgd, lr: 1e-1}}
"""
ROWS = """\
rows:
  base:
    figures: {camvid.test: {miou: "70.0", iou: {sky: "90.0"}}}
  more:
    figures: {camvid.test: {miou: "72.0", miou_gain: {printed: "+2.0", over: base}}}
"""


def line(text: str, fragment: str) -> int:
    """Number of the only line with that fragment."""
    (number,) = [index for index, content in enumerate(text.splitlines(), 1) if fragment in content]
    return number
