"""SegSort: unit embeddings of pixels, answered for by the segments of the training images that are most alike."""
