"""MobileNet V1, V2 and V3-Large, and EfficientNet-Lite0, which has MobileNetV2's blocks."""

# Entries of this package, and the name of each one's options.
ENTRIES = {
    "mobilenetv1": "MobileNetV1",
    "mobilenetv2": "MobileNetV2",
    "mobilenetv3-large": "MobileNetV3Large",
    "efficientnet-lite0": "EfficientNetLite0",
}
