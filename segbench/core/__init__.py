"""Ground floor: errors, files, registry and spec types. Imports nothing else of segbench and no torch."""
