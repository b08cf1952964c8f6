"""SpyGR: reasoning on graphs of the pixels at several scales."""
