"""OCR: pixels described by the object regions that they relate to."""
