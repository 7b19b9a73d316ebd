"""The methods that zetaplan is compared with: each layer's score, or its plan, from the published formula.

One file per method, named by the method, with its citation. Everything here is a pure function of arrays
(float64 inside). A score is of shape (K,) or one number per layer; a plan is experts
per layer (integers) or sparsity per layer (fractions in [0, 1]).
"""
