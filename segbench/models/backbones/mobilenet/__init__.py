"""MobileNet V1, V2 and V3-Large."""

# Entries of this package, and the name of each one's options.
ENTRIES = {"mobilenetv1": "MobileNetV1", "mobilenetv2": "MobileNetV2", "mobilenetv3-large": "MobileNetV3Large"}
