"""Augmentation of training samples: geometry, mixing, colour, blur."""
