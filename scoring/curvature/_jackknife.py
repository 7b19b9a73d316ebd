"""The jackknife (Quenouille 1956, Tukey 1958): a standard error from the N leave-one-out values."""

from torch import Tensor


def jackknife_error(left_out: Tensor) -> float:
    """sqrt((N-1)/N sum_i (t_i - mean t)^2) of the values t (N,) without sequence i."""
    n = len(left_out)
    return float(((n - 1) / n * (left_out - left_out.mean()).square().sum()).sqrt())
