"""The contribution of noise to a gain, and an unbiased estimate."""

from __future__ import annotations

from itertools import product

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, Theorem, at_least, below

SAMPLES = 3
M = sp.Matrix(SAMPLES, SAMPLES, lambda i, j: sp.Symbol(f"M_{min(i, j) + 1}{max(i, j) + 1}", real=True))
N, tau = sp.symbols("N tau", positive=True)
signal, noise, eigenvalue = sp.symbols(r"\theta \varsigma a", nonnegative=True)

signs = [sp.Matrix((1, *s)) for s in product((1, -1), repeat=SAMPLES - 1)]  # s and -s give the same
mean_over_signs = sp.Add(*((s.T * M * s)[0] / len(signs) for s in signs), evaluate=False)
pair, mean = (sp.Matrix(sp.symbols(f"{name}_1:3", real=True)) for name in ("x", "g"))
covariance = sp.Matrix(2, 2, lambda i, j: sp.Symbol(rf"\Sigma_{min(i, j) + 1}{max(i, j) + 1}", real=True))
plug_in = sp.Symbol(r"Q(\hat{g})", real=True)
same = tuple((M[i, j], signal) for i in range(SAMPLES) for j in range(i + 1, SAMPLES))
own = sum(M[i, i] for i in range(SAMPLES))
pairs = sum(M[i, j] for i in range(SAMPLES) for j in range(SAMPLES) if i != j)

PROOF = Proof(
    title="The noise floor and the unbiased gain",
    source="goes beyond the paper",
    statement=r"""
Let $Q(\hat g) = \hat g^{\top} M \hat g$ be a gain estimated from the mean $\hat g$ of $N$ sample gradients.

* If the samples' gradients had random signs, the true gain would be 0, but block-fisher would report
  $\operatorname{tr}\bigl(A (A + \tau I)^{-1}\bigr) / N$ on average: the noise floor. It is below 1.
* If $M$ does not depend on these samples and they are independent with mean $g$ and covariance $\Sigma$, then
  $\mathrm{E}\, Q(\hat g) = g^{\top} M g + \operatorname{tr}(M \Sigma) / N$: the estimate is too large by the second
  term.
* The mean over pairs, $\frac{1}{N (N - 1)} \sum_{i \ne j} g_i^{\top} M g_j$, has expectation $g^{\top} M g$
  exactly.
""",
    steps=(
        Identity(
            f"Random signs, $N = {SAMPLES}$, the mean over all {len(signs)} sign vectors of $s^{{\\top}} M s$: only "
            f"the diagonal is left.",
            mean_over_signs,
            own,
        ),
        Theorem(
            r"For any $N$ $\mathrm{E}\, s_i s_j$ is 1 if $i = j$ and 0 otherwise, so "
            r"$\mathrm{E}\, s^{\top} M s = \operatorname{tr} M$.",
            names=("Corners.mean_of_signs",),
        ),
        Argument(
            r"Multiplying by signs, "
            r"$G \to \operatorname{diag}(s)\, G$, turns $A$ into $\operatorname{diag}(s) A \operatorname{diag}(s)$ "
            r"and leaves $F$ as it is, so the gain becomes "
            r"$\tfrac1N s^{\top} A (A + \tau I)^{-1} s$ ([Gram expression](gram.md)), whose mean is the floor.",
            why="products of matrices with a diagonal of signs",
        ),
        Inequality(
            r"The floor is the mean of $\frac{a}{a + \tau} < 1$ over all eigenvalues.",
            below(eigenvalue / (eigenvalue + tau), sp.Integer(1)),
        ),
        Identity(
            r"A sample $x$ with itself, two parameters: with $\mathrm{E}\, x_a x_b = g_a g_b + \Sigma_{ab}$ the mean "
            r"of $x^{\top} M x$ is $g^{\top} M g + \operatorname{tr}(M \Sigma)$.",
            (pair.T * M[:2, :2] * pair)[0],
            (mean.T * M[:2, :2] * mean)[0] + (M[:2, :2] * covariance).trace(),
            given=tuple((pair[a] * pair[b], mean[a] * mean[b] + covariance[a, b]) for a, b in ((0, 0), (0, 1), (1, 1))),
        ),
        Argument(
            r"For any number of parameters the same sum. Two independent samples have $\Sigma = 0$ between them. So "
            r"$\mathrm{E}\, g_i^{\top} M g_j$ is $\theta = g^{\top} M g$ if $i \ne j$, and $\theta + \varsigma$ with "
            r"$\varsigma = \operatorname{tr}(M \Sigma)$ if $i = j$.",
            why="means of products of independent samples; the theory has no probability",
        ),
        Theorem(
            "There are $N (N - 1)$ pairs of the first kind and $N$ of the second.",
            names=("Corners.sum_over_pairs",),
        ),
        Identity(
            "So the gain of the mean gradient is biased.",
            (N * (N - 1) * signal + N * (signal + noise)) / N**2,
            signal + noise / N,
        ),
        Inequality("The bias is not negative.", at_least(signal + noise / N, signal)),
        Identity(
            f"The mean over the pairs is not biased, here for $N = {SAMPLES}$ with $M_{{ij}} = g_i^{{\\top}} M g_j$ at "
            f"its expectation.",
            pairs / (SAMPLES * (SAMPLES - 1)),
            signal,
            given=same,
        ),
        Identity(
            f"The formula of the code: the whole sum minus the samples' own terms, here for $N = {SAMPLES}$, with "
            f"$M_{{ij}} = g_i^{{\\top}} M g_j$.",
            pairs / (SAMPLES * (SAMPLES - 1)),
            (SAMPLES**2 * plug_in - own) / (SAMPLES * (SAMPLES - 1)),
            given=((plug_in, sum(M) / SAMPLES**2),),
        ),
    ),
    remark=r"""
The unbiased form needs an $M$ from other samples (cross-fitting). An unbiased estimate of a small
number may be negative.
""",
)
