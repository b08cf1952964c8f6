"""segbench: does a published segmentation number hold, here, and if not, why?"""

__version__ = "0.1.0"
