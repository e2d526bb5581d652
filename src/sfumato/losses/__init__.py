"""Losses on pictures and scores."""
