"""DeepLabV3: atrous spatial pyramid pooling with the image's mean."""
