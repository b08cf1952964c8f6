"""Fetching of data sets: downloads, accounts, archives of the user's, unpacking."""
