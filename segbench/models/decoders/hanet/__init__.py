"""HANet: DeepLabV3+ with channels gated by the height in the picture."""
