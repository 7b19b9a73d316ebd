"""Peer methods that zetaplan is compared with: each layer's score, or its plan, from the published formula.

One file per method, named by the method, with its citation. Every function is a pure function of arrays (float64
inside). A score has shape (K,), or is one number per layer. A plan is experts per layer (integers) or sparsity per
layer (fractions in [0, 1]).
"""
