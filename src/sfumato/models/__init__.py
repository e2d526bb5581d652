"""Families: one file each, with its Config, its networks, its losses and its step. No torch is imported here."""
