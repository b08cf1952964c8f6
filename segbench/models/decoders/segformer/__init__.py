"""SegFormer's all-MLP decoder: every layer projected, resized to the finest, fused."""
