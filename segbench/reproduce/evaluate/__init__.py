"""Evaluation of checkpoints and of label files: from a request over the recognised network to jobs and records."""
