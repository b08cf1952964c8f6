"""DeepLabV2: parallel dilated classifiers, summed."""
