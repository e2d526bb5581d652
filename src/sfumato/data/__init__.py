"""The verb `data`: pictures made for training, with labels that are true by construction."""
