"""Multi-scale and cross-scale contrastive losses of Pissas et al. (ECCV 2022)."""
