"""GTA5 (Playing for Data)."""
