"""From a table to verdicts: plan, jobs, launch, records.

The module can be called: ``segbench.reproduce("contextrast-table6", budget="smoke")``, see ``api.reproduce``.
"""

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


class _CallableModule(ModuleType):
    """This package as the function of the same name, which is imported when it is called."""

    @property
    def __call__(self) -> Callable[..., Any]:
        from .api import reproduce

        return reproduce

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__call__)


sys.modules[__name__].__class__ = _CallableModule
