"""What "style" is: statistics of features, and colours."""
