"""Pixels: reading, writing, colour, masks and the record a picture carries. Importing this imports no torch."""
