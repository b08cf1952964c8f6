"""Semi-supervised training with a teacher and a class-wise memory bank (SemiSeg-Contrastive)."""
