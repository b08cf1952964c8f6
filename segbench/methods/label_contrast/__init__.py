"""Contrastive pre-training by labels (Contrastive Learning for Label Efficient Semantic Segmentation)."""
