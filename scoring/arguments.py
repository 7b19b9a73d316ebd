"""Checks of the arguments of the public functions other than text: models, devices, numbers, switches."""

import math
from numbers import Real
from os import PathLike
from typing import Any

import torch
from torch import nn

from zetaplan.errors import ScoringError, shown


def listed(value: Any) -> list[Any] | None:
    """The entries of an iterable as a list. None for a text, a path, or a value that is not iterable."""
    if isinstance(value, str | bytes | PathLike):
        return None
    try:
        return list(value)
    except TypeError:
        return None


def network_of(model: object) -> nn.Module:
    """The module of a loaded model, or the module itself.

    Raises:
        ScoringError: the value is no model, or it has no parameters, or its parameters are on the meta device.
    """
    network = getattr(model, "model", model) if not isinstance(model, nn.Module) else model
    if not isinstance(network, nn.Module):
        raise ScoringError(f"model: expected a model, got {shown(model)}; load one by load_model")
    first = next(network.parameters(), None)
    if first is None:
        raise ScoringError(f"model: {type(network).__name__} has no parameters; give a causal language model")
    if any(p.is_meta for p in network.parameters()):
        raise ScoringError("model: the weights are on the meta device and hold no values; load it by load_model")
    return network


def as_device(device: Any) -> torch.device:
    """The device with its index as torch numbers it, for example cuda:0.

    Raises:
        ScoringError: torch cannot compute on the device.
    """
    try:
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError, ValueError, OverflowError):  # torch raises any of these
        found = torch.device("meta")
    if found.type == "meta":
        raise ScoringError(f"device = {shown(device)}: torch cannot compute there; use cpu, or a device that it sees")
    return found


def as_number(name: str, value: Any, *, zero: bool = False) -> float:
    """The value as a float.

    Raises:
        ScoringError: the value is not finite, or not above 0, or with `zero` below 0.
    """
    bound = ">= 0" if zero else "> 0"
    try:
        number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    except OverflowError:
        number = math.inf
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise ScoringError(f"{name}: expected a finite number {bound}, got {shown(value)}")
    return number


def require_switch(**switches: Any) -> None:
    """Raise ScoringError unless every argument is True or False."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ScoringError(f"{name}: expected True or False, got {shown(value)}")


def require_name(name: str, value: Any) -> None:
    """Raise ScoringError unless the value is a string."""
    if not isinstance(value, str):
        raise ScoringError(f"{name}: expected a name, got {shown(value)}")


def require_path(name: str, value: Any) -> None:
    """Raise ScoringError unless the value is a non-empty path."""
    if not isinstance(value, str | PathLike) or not str(value):
        raise ScoringError(f"{name}: expected a path, got {shown(value)}")
