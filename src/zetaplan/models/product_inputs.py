"""Inputs of weight matrices: every product with one of them, wherever the code of a model computes it.

An expert has no module of its own, and some models multiply by the weight of a linear without calling it, so hooks do
not show all inputs. The matrix of a product is a view of its parameter, and the address of the view identifies the
linear or the expert. A router may also send all tokens to all experts, multiplied by zero where an expert is not
chosen: a row of zeros has not reached the matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from zetaplan.errors import ScoringError
from zetaplan.models.matrices import Stack

PRODUCTS = frozenset({torch.matmul, torch.mm, torch.bmm, Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.__matmul__})
SUMS = frozenset({torch.addmm, torch.baddbmm, Tensor.addmm, Tensor.baddbmm})


#: Called with the stack, the number of the matrix in it, and its inputs (tokens, in).
Report = Callable[[Stack, int, Tensor], None]


class ProductInputs(TorchFunctionMode):
    """While active, report the inputs of every matrix of the stacks."""

    def __init__(self, stacks: Sequence[Stack], report: Report) -> None:
        self._stacks, self._report = stacks, report

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for matrix, inputs, side in _factors(func, args, kwargs or {}):
            self._tell(matrix, inputs, side)
        return func(*args, **(kwargs or {}))

    def _tell(self, matrix: Tensor, inputs: Tensor, side: int) -> None:
        for stack in self._stacks:
            place, rest = divmod(matrix.data_ptr() - stack.values.data_ptr(), stack.values[0].nbytes)
            if not 0 <= place < len(stack.values) or rest:  # another tensor, or further rows of the same matrix
                continue
            _require_columns(stack, matrix, side)
            for number, rows in enumerate(_by_matrix(matrix, inputs), place):
                flat = rows.reshape(-1, rows.shape[-1])
                self._report(stack, number, flat if stack.single else flat[(flat != 0).any(1)])


def _factors(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Both readings of a product: the matrix, the inputs (..., tokens, in), the dimension of the matrix's inputs."""
    factors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    if func is functional.linear:
        yield factors[1], factors[0], -1
    elif func in PRODUCTS or func in SUMS:
        left, right = factors[-2:]
        if left.ndim > 1 and right.ndim > 1:
            yield right, left, -2
            yield left, right.mT, -1


def _by_matrix(matrix: Tensor, inputs: Tensor) -> Tensor:
    """The inputs by the matrices of the product, which are several if it has three dimensions."""
    if matrix.ndim < 3:
        return inputs[None]
    return inputs if inputs.ndim > 2 else inputs.expand(len(matrix), -1, -1)


def _require_columns(stack: Stack, matrix: Tensor, side: int) -> None:
    """Raise ScoringError if the code multiplies by the matrix from another side than its shape is read."""
    stored = stack.values
    if matrix.stride(side) != stored.stride(stack.columns) or matrix.shape[side] != stored.shape[stack.columns]:
        raise ScoringError(
            f"model: {stack.name!r} is multiplied by inputs of the width {matrix.shape[side]}, and the rows of its "
            f"matrices are read with the width {stored.shape[stack.columns]}; use the method magnitude"
        )
