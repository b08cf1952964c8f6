"""SegSort: pixels attracted by the segments of their class and repelled by all others; no classifier."""
