"""COCO-Stuff 10k."""
