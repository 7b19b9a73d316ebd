"""A menu of formats under the rules of one runtime: the formats that it loads, at the bytes that it stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from zetaplan.errors import SpecError
from zetaplan.menus.bits import BitsFacts, Weight, bits_facts
from zetaplan.menus.menu import Column, Menu
from zetaplan.models.quantizers import Quantizer, find_quantizer
from zetaplan.runtimes import Runtime, fused

Options = dict[int, Quantizer]  # by their place in the menu


def for_runtime(menu: Menu, runtime: Runtime) -> Menu:
    """The menu with the formats that the runtime loads, at the bytes that it stores.

    Blocks that hold linears which it stores as one keep the formats that they have in common. Raises SpecError for a
    block without any format.
    """
    facts = bits_facts(menu)
    pairs = zip(menu.names, menu.options, strict=True)
    options = {name: _loadable(name, labels, facts.weights[name], runtime) for name, labels in pairs}
    for group in tied_blocks(facts, runtime):
        options |= _in_common(group, options, runtime)
    return replace(
        menu,
        options=tuple(tuple(quantizer.label for quantizer in options[name].values()) for name in menu.names),
        losses=_kept(menu, menu.losses, options),
        costs=tuple(
            tuple((float(stored(runtime, quantizer, facts.weights[name])),) for quantizer in options[name].values())
            for name in menu.names
        ),
        low=menu.low and _kept(menu, menu.low, options),
        high=menu.high and _kept(menu, menu.high, options),
        standard_error=menu.standard_error and _kept(menu, menu.standard_error, options),
        provenance=facts.model_copy(update={"runtime": runtime.NAME}).model_dump(mode="json"),
    )


def stored(runtime: Runtime, quantizer: Quantizer, members: Iterable[Weight]) -> int:
    """The bytes of the matrices of a block."""
    return sum(runtime.size(quantizer, weight) for weight in members)


def kept_bytes(facts: BitsFacts, runtime: Runtime) -> int:
    """The bytes of the parameters that are not planned: norms, biases, convolutions."""
    return sum(runtime.kept(numel) for numel in facts.others.values())


def tied_blocks(facts: BitsFacts, runtime: Runtime) -> tuple[tuple[str, ...], ...]:
    """The blocks that hold linears which the runtime stores as one, two or more together."""
    owner = {weight.name: block for block, weight in facts.items()}
    groups = fused(runtime, (weight for _, weight in facts.items()))
    blocks = dict.fromkeys(tuple(dict.fromkeys(owner[name] for name in names)) for names in groups)
    return tuple(group for group in blocks if len(group) > 1)


def _loadable(name: str, labels: Sequence[str], members: Sequence[Weight], runtime: Runtime) -> Options:
    quantizers = dict(enumerate(map(find_quantizer, labels)))
    reasons = {j: _obstacle(quantizer, members, runtime) for j, quantizer in quantizers.items()}
    found = {j: quantizer for j, quantizer in quantizers.items() if not reasons[j]}
    if not found:
        listed = "; ".join(f"{quantizers[j].label}: {reason}" for j, reason in reasons.items())
        raise SpecError(f"for = {runtime.NAME!r}: it can load no format of block {name!r} ({listed}); measure others")
    return found


def _obstacle(quantizer: Quantizer, members: Iterable[Weight], runtime: Runtime) -> str:
    return next(filter(None, (runtime.obstacle(quantizer, weight) for weight in members)), "")


def _in_common(group: Sequence[str], options: Mapping[str, Options], runtime: Runtime) -> dict[str, Options]:
    common = set.intersection(*({quantizer.label for quantizer in options[name].values()} for name in group))
    if not common:
        listed = ", ".join(map(repr, group))
        raise SpecError(f"for = {runtime.NAME!r}: it stores {listed} as one, and they have no format in common")
    return {name: {j: q for j, q in options[name].items() if q.label in common} for name in group}


def _kept(menu: Menu, column: Column, options: Mapping[str, Options]) -> Column:
    return tuple(tuple(row[j] for j in options[name]) for name, row in zip(menu.names, column, strict=True))
