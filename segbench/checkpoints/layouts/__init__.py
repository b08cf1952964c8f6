"""Layouts of networks that several families share: names, forms of layers, and what shapes show."""
