"""Where the scores come from: the curvature-adjusted gain zeta^2 = g'(H + tau I)^-1 g of every block of a model.

The names stand in `__init__.pyi`. Each loads when it is first used: reading scores does not import torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
