"""The data-set doctor: what lies there, what is wrong with it, and which command mends it. Free of torch."""
