"""Settings of a score: one frozen value, checked on construction. Names and defaults of `score` are defined here."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from zetaplan.scoring.arguments import as_number, require_name, require_path, require_switch
from zetaplan.scoring.curvature._damping import Damping
from zetaplan.scoring.text.sequences import Batches, require_count


@dataclass(frozen=True, eq=False, kw_only=True)
class ScoreSettings:
    """Settings of `score`, which documents each of them. Raises ScoringError for a value outside its range."""

    blocks: str = "layers"
    damping: Damping | float = Damping()  # noqa: RUF009  a frozen value
    width: float = 1e-3
    device: str | torch.device | None = None
    dtype: str | torch.dtype | None = None
    batch_size: int | None = None
    held_out: Batches | None = None
    memory: str | int | None = None
    sketch: int | None = None
    cache: bool | str | PathLike[str] = False
    distributed: bool = False
    shard: bool = False
    progress: bool = False

    def __post_init__(self) -> None:
        require_switch(distributed=self.distributed, shard=self.shard, progress=self.progress)
        require_name("blocks", self.blocks)
        Damping.of(self.damping)
        if not isinstance(self.cache, bool):
            require_path("cache", self.cache)
        self._set("width", as_number("width", self.width, zero=True))
        self._set("batch_size", None if self.batch_size is None else require_count("batch_size", self.batch_size, 1))
        self._set("sketch", None if self.sketch is None else require_count("sketch", self.sketch, 1))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
