"""Train, predict, score and compare medical multimodal models in one protocol."""

__version__ = "0.1.0"
