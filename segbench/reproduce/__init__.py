"""From a table to verdicts: what runs, what is there, what it costs, and doing it."""
