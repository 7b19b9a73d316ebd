"""How much for each layer? Capacity and sparsity plans for language models, with a proof."""

__version__ = "0.1.0"
