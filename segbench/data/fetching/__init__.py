"""Getting a data set: downloads, accounts, archives fetched by hand, unpacking."""
