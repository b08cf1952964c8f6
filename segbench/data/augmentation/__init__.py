"""What is done to a training sample: geometry and mixing, colour and blur."""
