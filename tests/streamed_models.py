"""What a streamed model has in memory while it is used."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from zetaplan.scoring.model.blocks import decoder_layers
from zetaplan.scoring.model.streamed import Stored, is_blank


def held_at_once(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Receives, whenever weights are read, how many layers hold values; a tensor may have a single number."""
    layers, full, read = [layer for _, layer in decoder_layers(model)], set[int](), Stored.read_into

    def watched(self: Stored, values: Any) -> None:
        read(self, values)
        full.add(sum(any(not is_blank(p) for p in layer.parameters()) for layer in layers))

    monkeypatch.setattr(Stored, "read_into", watched)
    return full


def require_dropped(model: nn.Module) -> None:
    """Every layer holds no values and no gradients."""
    for _, layer in decoder_layers(model):
        assert all(is_blank(p) and p.isnan().all() and p.grad is None for p in layer.parameters())
