"""Launchers: who runs jobs, and where."""

from .base import Launcher as Launcher
from .debug import DebugLauncher as DebugLauncher
from .local import InProcess as InProcess
from .local import local as local
