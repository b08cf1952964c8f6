"""Generated street scenes with labels for any class table: data for smoke runs and tests, drawn and never stored.

``render(index, table=..., size=..., seed=..., split=...)`` draws one image. Raise ``VERSION`` when pictures change.
"""

from .render import VERSION, render

__all__ = ["VERSION", "render"]
