"""LoRA ranks, sparsity and formats for the layers of a language model, each plan with a proof of optimality.

    inst = zp.pruning(gains, sizes, sparsity=0.5, upper=0.8)
    sol = zp.solve(inst)
    assert zp.certify(inst, sol).valid

`__init__.pyi` lists the public names. Each name is imported when it is first used, so that `import zetaplan` does not
import torch, sympy or cvxpy.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
