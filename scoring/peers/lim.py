"""LIM, the layer input modification score (Dumitru et al. 2024, "Layer-Wise Quantization", arXiv 2406.17415):
the negative cosine similarity of a layer's input and output. A layer that changes its input more has a higher score.
"""

import numpy as np
from numpy.typing import ArrayLike

from zetaplan.errors import ScoringError
from zetaplan.scoring.peers.validation import Array, array


def lim_score(inputs: ArrayLike, outputs: ArrayLike) -> float:
    """Mean over tokens of -cos(input, output), in [-1, 1], for hidden states (tokens, hidden) before and after.

    Raises:
        ScoringError: bad data, unequal shapes, or a token whose hidden state is zero.
    """
    before, after = array("inputs", inputs, ndim=2), array("outputs", outputs, ndim=2)
    if before.shape != after.shape:
        raise ScoringError(f"outputs: expected the shape of the inputs, {before.shape}, got {after.shape}")
    return -float(np.mean(np.sum(_unit("inputs", before) * _unit("outputs", after), axis=1)))


def _unit(name: str, states: Array) -> Array:
    scale = np.abs(states).max(axis=1, keepdims=True)  # divided first, so that squares neither overflow nor underflow
    if (scale == 0).any():
        raise ScoringError(f"{name}: token {int(np.argmin(scale))} is zero, so it has no direction; remove it")
    scaled: Array = states / scale
    unit: Array = scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
    return unit
