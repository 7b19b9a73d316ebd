"""What a report of a plan of formats shows beside its table: bits by matrix, bytes by format, uniform plans, checks."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from functools import cached_property

from markupsafe import Markup

from zetaplan.bits.presets import Preset, presets_of
from zetaplan.bits.sizes import bits_by_matrix, sizes_of
from zetaplan.menus.bits import BitsFacts, WholeData, bits_facts
from zetaplan.menus.plan import ChoicePlan
from zetaplan.reports.charts import heat_chart
from zetaplan.reports.pages import HALF


@dataclass(frozen=True, eq=False)
class Formats:
    """The formats of a plan. plan : made by `zetaplan.quantize`."""

    plan: ChoicePlan

    @cached_property
    def facts(self) -> BitsFacts:
        return bits_facts(self.plan.menu)

    @property
    def totals(self) -> tuple[str, ...]:
        """The runtime, all bytes and both averages."""
        sizes = sizes_of(self.plan)
        return (
            f"made for {self.facts.runtime}: {sizes.tensors:,} bytes of tensors, {self._before:,} in 16 bits before",
            f"{sizes.bits_quantised:.4g} bits per weight that can be quantised, {sizes.bits_all:.4g} per parameter",
        )

    @property
    def _before(self) -> int:
        """The bytes of all parameters in 16 bits."""
        return HALF * (self.facts.numel + sum(self.facts.others.values()))

    def next_steps(self, file: str) -> tuple[str, ...]:
        """The commands that write the model, where zetaplan can, and measure it."""
        model = shlex.quote(self.facts.model)
        target, out = {"llama.cpp": ("gguf", "mixed.gguf")}.get(str(self.facts.runtime), ("safetensors", "values"))
        return (
            f"zetaplan apply {model} {file} --to {target} -o {out}",
            f"zetaplan evaluate {out} --text HELD_OUT --against {model}",
        )

    @property
    def shares(self) -> tuple[tuple[str, str, str], ...]:
        """Format, weights and bytes, the largest first."""
        rows = sorted(sizes_of(self.plan).formats.items(), key=lambda row: -row[1].bytes)
        return tuple((label, f"{share.weights:,}", f"{share.bytes:,}") for label, share in rows)

    @cached_property
    def chart(self) -> Markup | None:
        """Bits per weight of every matrix of the decoder layers, by layer and module; nothing if there are none."""
        cells: dict[tuple[str, str], float] = {}
        for weight, bits in bits_by_matrix(self.plan):
            if number := re.search(r"\d+$", weight.layer):
                module = weight.name.removeprefix(f"{weight.layer}.").removesuffix(".weight")
                cells[module, number.group()] = bits
        rows, columns = (list(dict.fromkeys(place[axis] for place in cells)) for axis in (0, 1))
        return heat_chart("Bits per weight of every linear, by layer", rows, columns, cells) if cells else None

    @cached_property
    def presets(self) -> tuple[Preset, ...]:
        """Every format in all blocks that can be quantised, and the rule of Q4_K_M, where the menu holds them."""
        return presets_of(self.plan.menu)

    @property
    def wholes(self) -> tuple[WholeData, ...]:
        """Whole models that were measured when the menu was made."""
        return self.facts.measured.wholes if self.facts.measured else ()
