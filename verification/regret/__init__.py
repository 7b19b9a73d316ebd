"""Bounds on the regret of a plan over a box of scores, without a solver."""
