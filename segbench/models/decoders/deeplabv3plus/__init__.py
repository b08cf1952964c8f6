"""DeepLabV3+: DeepLabV3's pyramid, refined with the finest layer."""
