"""Results: records, their store, verdicts, and how they are shown. Free of torch."""
