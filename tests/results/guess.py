"""An open point that any made table can have."""

GUESS = """
readings:
  guess:
    question: Which?
    options: {one: {says: one}, two: {says: two, set: {method.temperature: 0.5}}}
    default: one
    source: nowhere
    confidence: low
"""
