"""The weight matrices of a block that methods change: of every linear, and of every expert of a stack."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from zetaplan.scoring.model.blocks import Block
from zetaplan.scoring.model.experts import is_transposed, stacks


@dataclass(frozen=True, eq=False)
class Stack:
    """Matrices in one parameter.

    name : of the module of a linear, or of the parameter. values : (E, ., .), as stored. columns : the dimension of the
    inputs, -1 or -2. single : whether it is the weight of a linear, as a stack of one.
    """

    name: str
    values: Tensor
    columns: int
    single: bool = False

    @property
    def parameter(self) -> str:
        """The name of the parameter."""
        return f"{self.name}.weight" if self.single else self.name


@dataclass(frozen=True, eq=False)
class Matrix:
    """One matrix of a stack. weight : (out, in), a view of the parameter. place : its number in the stack."""

    name: str
    stack: Stack
    place: int

    @property
    def weight(self) -> Tensor:
        """W (out, in)."""
        stored = self.stack.values[self.place]
        return stored if self.stack.columns == -1 else stored.mT

    def stored(self, weight: Tensor) -> Tensor:
        """Values (out, in) as the parameter stores them."""
        return weight if self.stack.columns == -1 else weight.mT


def stacks_of(name: str, module: nn.Module) -> Iterator[Stack]:
    """The weight of a linear, under the name of the module, or the module's stacks of experts, by their own names."""
    if isinstance(module, nn.Linear | Conv1D):
        weight = module.get_parameter("weight").detach()[None]
        yield Stack(name, weight, -2 if isinstance(module, Conv1D) else -1, single=True)
        return
    for key, values in stacks(module).items():
        yield Stack(f"{name}.{key}", values.detach(), -2 if is_transposed(module, key) else -1)


def matrices_of(block: Block) -> dict[str, Matrix]:
    """The matrices of a block by name: that of a linear's module, or of the parameter with the expert's number."""
    found = [
        Matrix(stack.name if stack.single else f"{stack.name}[{place}]", stack, place)
        for name, module in block.modules.items()
        for stack in stacks_of(name, module)
        for place in (range(len(stack.values)) if block.expert is None else [block.expert])
    ]
    return {matrix.name: matrix for matrix in found}
