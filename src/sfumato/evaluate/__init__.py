"""The verb `evaluate`: made pictures against real ones, classifiers against labels."""
