"""Restoration: what time, cameras and files did to a picture, undone. Torch comes with the work."""
