"""CamVid: eleven classes, 701 frames of 360x480 (height x width)."""
