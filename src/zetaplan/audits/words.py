"""The audit of a bit plan as text, in the form of the other audits: questions, answers, and the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from zetaplan._digits import at_most
from zetaplan._plural import counted
from zetaplan.audits.against import Against
from zetaplan.audits.bits import BitsAudit, Split
from zetaplan.verification.audit.published import Finding

SHOWN = 5  # of a list


def findings(audit: BitsAudit) -> tuple[Finding, ...]:
    """The questions about the plan with their answers. A False answer makes the audit negative."""
    return tuple(_findings(audit))


def text(audit: BitsAudit) -> str:
    """The audit for the terminal."""
    marks = {True: "yes", False: "NO", None: "?"}
    lines = [f"{audit.name} ({audit.plan.form})"]
    lines += [f"  [{marks[finding.holds]}] {finding.question} {finding.words}" for finding in findings(audit)]
    lines += [f"  {line}" for line in (*_numbers(audit), *audit.plan.remarks)]
    return "\n".join(lines)


def _findings(audit: BitsAudit) -> Iterator[Finding]:
    if audit.plan.settings:
        yield _entries(audit)
    if audit.applied.stored:
        yield _fusions(audit)
    if audit.shaped and audit.applied.stored:
        yield _formats(audit)
    if audit.against or audit.outside:
        words = audit.outside or "; ".join(_distance(audit, found) for found in audit.against)
        yield Finding("How far is it from the best plan of the same size?", None, words)


def _entries(audit: BitsAudit) -> Finding:
    question = "Does every setting apply to what it names?"
    number = counted(len(audit.plan.settings), "setting")
    if not audit.shaped:
        return Finding(question, None, f"{number}; only the model shows it, and the bytes (--model)")
    problems = audit.applied.problems
    if not problems:
        return Finding(question, True, f"yes, all of {number}")
    return Finding(question, False, f"no, {len(problems)} of {number}: {_some([str(p) for p in problems], '; ')}")


def _fusions(audit: BitsAudit) -> Finding:
    question = "Has every group of matrices that vLLM stores in one tensor one format?"
    if not audit.splits:
        return Finding(question, True, "yes")
    layers = len({split.layer for split in audit.splits})
    kinds = Counter(_kind(split) for split in audit.splits)
    words = f"no, in {layers} of {counted(audit.layers, 'layer')}: " + ", ".join(
        f"{kind} in {number}" for kind, number in kinds.items()
    )
    first = audit.splits[0]
    words += f"; the first is {first.layer or first.names[0]} with {', '.join(first.labels)}"
    if audit.violated:
        return Finding(question, False, words)
    return Finding(
        question, None, f"{words}; {audit.tool or 'the tool of the file'} does not need it (--for vllm does)"
    )


def _kind(split: Split) -> str:
    return "/".join(name.removesuffix(".weight").rpartition(".")[2] for name in split.names)


def _formats(audit: BitsAudit) -> Finding:
    question = "Is every matrix stored in the format that the plan names?"
    rows = audit.fallbacks
    if not rows:
        return Finding(question, True, "yes")
    kinds = Counter(f"{row.label} as {row.written or 'nothing'} ({row.why})" for row in rows)
    words = [f"{number} x {kind}" for kind, number in kinds.most_common()]
    return Finding(question, None, f"no, {counted(len(rows), 'tensor')} not: {_some(words, '; ')}")


def _distance(audit: BitsAudit, found: Against) -> str:
    unit = f" {menu.loss_unit}" if (menu := audit.plan.menu) and menu.loss_unit else ""
    best = f"the best {found.best:.6g}{unit}" + (f", proved to {at_most(found.gap)}" if found.gap else "")
    return f"{found.name} loses {found.loss:.6g}{unit} by the menu, {best}, at {_spent(found)}"


def _spent(found: Against) -> str:
    return ", ".join(f"{amount:,.10g}" for amount in found.spent)


def _numbers(audit: BitsAudit) -> Iterator[str]:
    density = audit.bits_per_weight
    if audit.bytes is not None:
        means = [f"{density[key]:.4f} over {words}" for key, words in MEANS.items() if density[key] is not None]
        yield f"{audit.bytes:,} bytes in {counted(len(audit.sized), 'tensor')}; bits per weight: {', '.join(means)}"
        for label, row in audit.types.items():
            yield f"  {label:12s} {row['tensors']:6,} tensors {row['weights']:15,} weights {row['bytes']:15,} bytes"
    if density["planned"] is not None:
        weighted = "" if audit.shaped else ", every matrix alike; bytes need the shapes (--model)"
        yield f"{density['planned']:.4f} planned bits on average over the quantised matrices{weighted}"
    if unset := audit.applied.unset:
        yield (
            f"{counted(len(unset), 'tensor')} of {sum(weight.numel for weight in unset):,} weights without "
            f"an entry are not counted, {unset[0].name} the first; state their format with --rest"
        )


MEANS = {"all": "all weights", "quantised": "the quantised ones"}


def _some(words: Sequence[str], separator: str) -> str:
    more = f" (and {len(words) - SHOWN} more)" if len(words) > SHOWN else ""
    return separator.join(words[:SHOWN]) + more
