"""UPerNet: pyramid pooling and a feature pyramid over all layers, fused at the finest."""
