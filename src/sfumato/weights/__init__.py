"""Trained models: files of weights, and the models that come with sfumato.

`registry` says what is bundled and under what terms, `files` reads and writes the safetensors. Importing them imports
no torch.
"""
