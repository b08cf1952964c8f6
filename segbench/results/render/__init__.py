"""Outline of a report: blocks of plain data that every format for people fills, see ``segbench.results.formats``."""
