"""Backbones: the decoder under the model, by name or by folder."""
