"""Scores of a model's blocks: the curvature-adjusted gain zeta^2 = g'(H + tau I)^-1 g of every block.

The public names are listed in `__init__.pyi`. Each name is imported at its first use, so reading scores does not import
torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
