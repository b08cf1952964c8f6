"""ACFNet: pixels described by the centres of the classes that they may belong to."""
