"""Capacity: memory and time of trainings, and the machine that they are to run on."""
