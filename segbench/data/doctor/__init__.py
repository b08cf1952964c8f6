"""The doctor of data sets: an examination of the files, its findings, and the commands that fix them. Free of torch."""
