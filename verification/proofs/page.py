"""Documentation pages of the proofs, printed from the expressions that are checked when the pages are built."""

from __future__ import annotations

from collections import Counter

from zetaplan.verification.formal.statements import statements
from zetaplan.verification.proofs import proofs
from zetaplan.verification.proofs.proof import Argument, Proof, Step, Theorem

KINDS = {
    "sympy": "identities, derivatives and limits, symbolically",
    "SMT": "inequalities for all values of the variables; z3 finds no model of the negation",
    "Arb": "inequalities between constants, by interval arithmetic that includes rounding",
    "Coq": "theorems about any number of layers, from definitions alone; Coq accepts their proofs",
    "words": "arguments without a machine check",
}


def proof_pages() -> dict[str, str]:
    """Every page under proofs/ by file name, as Markdown. Raises CertificateError if a step does not hold."""
    for proof in proofs().values():
        proof.check()
    return {"index.md": _index()} | {f"{name}.md": _page(proof) for name, proof in proofs().items()}


def _index() -> str:
    total = sum((proof.tally for proof in proofs().values()), Counter())
    kinds = "\n".join(f"| {kind} | {total[kind]} | {meaning} |" for kind, meaning in KINDS.items())
    rows = "\n".join(f"| [{proof.title}]({name}.md) | {_counts(proof)} |" for name, proof in proofs().items())
    header = " | ".join(KINDS)
    return f"""# Proofs

These pages prove the theorems behind zetaplan. Each theorem is a value in `verification/proofs/`. A program checks its
steps whenever this page is built, and a step that does not hold stops the build. The formulas are printed from the
checked expressions. Formulas about a program come from its declaration.

| checked by | steps | meaning |
|---|---:|---|
{kinds}

Steps checked by sympy, SMT and Arb are about single layers. Sums over any number of layers and conclusions such as
"hence it is optimal" are theorems that Coq has checked, or arguments in words. For pruning with
[three layers](three_layers.md) the whole theorem is one formula that SMT checks.

The theorems of Coq are in `verification/formal/theory/`. `make checker` has Coq check them, prints what each of them
assumes, and builds the checker that is proved to accept only true claims. Theorems about choices and their checker
assume nothing. Theorems about real numbers assume the axioms on which Coq's real numbers rest: `sig_forall_dec` and
`functional_extensionality_dep`, and with logarithms and powers also `sig_not_dec` and `classic`.

In Coq's library, roots of continuous functions, exponentials and logarithms are defined by the least upper bound, which
needs `sig_not_dec`. So every theorem that names one of them assumes it.

| theorem | {header} |
|---|{"---:|" * len(KINDS)}
{rows}

## Arguments without a machine check

| step | why no machine checks it |
|---|---|
{_words()}

The [claims ledger](../ledger.md) lists the claims of the paper that these theorems prove, correct or refute.
"""


def _words() -> str:
    """The arguments without a machine check, with the reason."""
    return "\n".join(
        f"| [{proof.title}]({name}.md), step {number} | {step.why} |"
        for name, proof in proofs().items()
        for number, step in enumerate(proof.steps, start=1)
        if isinstance(step, Argument)
    )


def _counts(proof: Proof) -> str:
    return " | ".join(str(proof.tally[kind] or "") for kind in KINDS)


def _page(proof: Proof) -> str:
    assumptions = "\n".join(f"- {assumption}" for assumption in proof.assumptions)
    steps = "\n\n".join(_step(number, step) for number, step in enumerate(proof.steps, start=1))
    parts = [
        f"# {proof.title}",
        proof.statement.strip(),
        f"**Where.**\n\n{assumptions}" if assumptions else "",
        "## Proof",
        steps,
        f"## Remark\n\n{proof.remark.strip()}" if proof.remark else "",
        f"*Source: {proof.source}.*" if proof.source else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _step(number: int, step: Step) -> str:
    formula = f"\n\n$$\n{step.formula}\n$$" if step.formula else ""
    return f"**{number}.** {step.words} *({_mark(step)})*{formula}{_statements(step)}"


def _mark(step: Step) -> str:
    if isinstance(step, Argument):
        return "not checked by a machine"
    names = ", ".join(f"`{name}`" for name in step.names) if isinstance(step, Theorem) else ""
    return f"checked by {step.checked_by}" + (f": {names}" if names else "")


def _statements(step: Step) -> str:
    """The theorems of a step as the theory states them."""
    if not isinstance(step, Theorem):
        return ""
    text = "\n\n".join(statements()[name] for name in step.names)
    return f"\n\n```coq\n{text}\n```"
