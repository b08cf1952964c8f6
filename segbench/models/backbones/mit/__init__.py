"""Mix Transformer (MiT), SegFormer's encoder (Xie et al. 2021, arXiv 2105.15203), and the one that CFN made of it."""
