"""The gain of the empirical Fisher matrix is a quadratic form in the Gram matrix of the samples."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, at_least, below

G, Gt = sp.symbols(r"G G^{\top}", commutative=False)
A, S, P = sp.symbols("A S P", commutative=False)
e, et = sp.symbols(r"\mathbf{1} \mathbf{1}^{\top}", commutative=False)
N = sp.Symbol("N", positive=True)
tau, a = sp.symbols("tau a", positive=True)
eigenvalue = sp.Symbol("a", nonnegative=True)
g1, g2 = sp.symbols("g_1 g_2", real=True)

gram, fisher = G * Gt / N, Gt * G / N
pair = sp.Matrix([g1, g2])


def direct_gain(gradients: sp.Matrix, damping: sp.Expr) -> sp.Expr:
    """g' (F + tau I)^-1 g with one gradient per row."""
    rows, columns = gradients.shape
    mean = sum((gradients.row(i) for i in range(rows)), sp.zeros(1, columns)) / rows
    damped = gradients.T * gradients / rows + damping * sp.eye(columns)
    return (mean * damped.inv() * mean.T)[0]


def gram_matrix(gradients: sp.Matrix) -> sp.Matrix:
    """A = G G' / N."""
    return gradients * gradients.T / gradients.rows


def gram_gain(gradients: sp.Matrix, damping: sp.Expr) -> sp.Expr:
    """(1/N) 1' A (A + tau I)^-1 1."""
    products = gram_matrix(gradients)
    return sum(products * (products + damping * sp.eye(gradients.rows)).inv()) / gradients.rows


PROOF = Proof(
    title="The gain as a Gram expression",
    source="goes beyond the paper",
    statement=r"""
Let $G$ hold one gradient per sample in its $N$ rows, $F = G^{\top} G / N$ the empirical Fisher matrix,
$A = G G^{\top} / N$ the Gram matrix and $g = G^{\top} \mathbf{1} / N$. Then

$$\zeta^2 = g^{\top} (F + \tau I)^{-1} g = \tfrac{1}{N}\, \mathbf{1}^{\top} A (A + \tau I)^{-1} \mathbf{1}, \qquad 0
\le \zeta^2 < 1.$$

As $\tau \to 0$ the gain tends to the squared length of the projection of $\mathbf{1} / \sqrt{N}$ on the range of $A$:
to 1 for every layer with $N$ linearly independent gradients.
""",
    assumptions=(r"$\tau > 0$; $P = (F + \tau I)^{-1}$ and $S = (A + \tau I)^{-1}$.",),
    steps=(
        Identity(
            "The matrices intertwine, for any number of samples and parameters.",
            (gram + tau) * G,
            G * (fisher + tau),
        ),
        Identity("Multiply by $S$ from the left.", S * (A + tau) * G * P, G * P, given=((S * A, 1 - tau * S),)),
        Identity(
            "Multiply by $P$ from the right.",
            S * G * (fisher + tau) * P,
            S * G,
            given=((Gt * G * P, N * (1 - tau * P)),),
        ),
        Argument(
            "By step 1 the two left sides are equal, so $G P = S G$.",
            why="an equation of matrices multiplied by two inverses",
        ),
        Identity(
            "Insert it into the gain.",
            (et * G / N) * P * (Gt * e / N),
            et * S * A * e / N,
            given=((G * P, S * G), (G * Gt, N * A)),
        ),
        Identity(
            "Both forms for two gradients of one parameter, without the rules above.",
            direct_gain(pair, tau),
            gram_gain(pair, tau),
        ),
        Argument(
            r"$S$ and $A$ commute and have the eigenvectors of $A$. With $\mathbf{1} / \sqrt{N}$, a vector of length "
            r"1, expanded in them, the gain is a mean of "
            r"$\frac{a}{a + \tau}$ over the eigenvalues $a \ge 0$ of $A$, weighted by its squared components.",
            why="Coq's standard library has no eigenvectors of symmetric matrices",
        ),
        Inequality("Each of these is at least 0.", at_least(eigenvalue / (eigenvalue + tau), sp.Integer(0))),
        Inequality("Each is less than 1, and so is their mean.", below(eigenvalue / (eigenvalue + tau), sp.Integer(1))),
        Identity(
            r"As $\tau$ falls to 0 the term of a positive eigenvalue tends to 1.",
            sp.Limit(a / (a + tau), tau, 0, "+"),
            sp.Integer(1),
        ),
        Identity(
            "An eigenvalue 0 adds 0 at any damping.",
            sp.Subs(eigenvalue / (eigenvalue + tau), eigenvalue, 0),
            sp.Integer(0),
        ),
        Identity(
            r"So linear independence is needed: two opposite gradients have the mean 0, and "
            r"$\mathbf{1}^{\top} A \mathbf{1}$, "
            "with it the gain, is 0 at every damping (one parameter).",
            (g1**2 + 2 * g1 * g2 + g2**2) / 2,
            sp.Integer(0),
            given=((g2, -g1),),
        ),
    ),
    remark=r"""
The ranking depends on the damping: without damping all layers with independent gradients have the same gain, 1.
""",
)
