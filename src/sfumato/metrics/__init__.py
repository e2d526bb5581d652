"""How good a result is, one metric a file."""
