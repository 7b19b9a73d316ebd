"""Lanczos bounds of the gain: Gauss from below, Gauss-Radau from above."""

from __future__ import annotations

import sympy as sp

from zetaplan.verification.proofs.proof import Argument, Identity, Inequality, Proof, Theorem, above, at_least, at_most

x, a, t, t1, t2 = sp.symbols(r"x a t t_1 t_2", positive=True)
n = sp.Symbol("n", integer=True, nonnegative=True)


def interpolant(error: sp.Expr) -> sp.Expr:
    """The polynomial (1 - error) / x; error is 1 at x = 0, so the remainder is 0."""
    quotient, remainder = sp.div(sp.expand(1 - error), x, x)
    return quotient + remainder / x


ONE, TWO, THREE = MOMENTS = sp.symbols("m_1:4", real=True)  # of the spectral measure; m_0 is |g|^2
whole, gain = sp.Symbol("m_0", positive=True), sp.Symbol("zeta^2", positive=True)
alpha_1, alpha_2, beta, omega = sp.symbols("alpha_1 alpha_2 beta omega", positive=True)
trace, determinant = sp.symbols("s d", positive=True)
lanczos, radau = sp.Matrix([[alpha_1, beta], [beta, alpha_2]]), sp.Matrix([[alpha_1, beta], [beta, omega]])
COEFFICIENTS = ((ONE, whole * alpha_1), (TWO, whole * (alpha_1**2 + beta**2)))
SECOND = (THREE, whole * alpha_2 * beta**2 + 2 * alpha_1 * TWO - alpha_1**2 * ONE)
EIGENVALUES = ((trace, alpha_1 + alpha_2), (determinant, alpha_1 * alpha_2 - beta**2))
LAST = (beta**2, (alpha_1 - a) * (omega - a))


def integral(function: sp.Expr) -> sp.Expr:
    """The integral of a polynomial over x, in the moments; the integral of 1 / x is the gain."""
    powers = sp.Poly(sp.expand(function * x), x).terms()
    return sum(sp.expand(factor) * (gain, whole, *MOMENTS)[power] for (power,), factor in powers)


gauss_1, gauss_2 = (1 - x / t) ** 2, (1 - x / t1) ** 2 * (1 - x / t2) ** 2
radau_1 = (1 - x / a) * (1 - x / t) ** 2

PROOF = Proof(
    title="Gauss and Gauss-Radau bounds of the gain",
    source="Golub and Meurant (1994, 2010) for the rules; the elementary form of the error is worked out here",
    statement=r"""
Let $\tilde H = H + \tau I$ have its eigenvalues in $[a, \infty)$, $a > 0$ ($a = \tau$ if $H$ is positive
semi-definite), and let $n$ steps of Lanczos, started from $g$, be done without rounding. The $n$-point Gauss rule of
their tridiagonal matrix is at most $\zeta^2 = g^{\top} \tilde H^{-1} g$, the Gauss-Radau rule with the additional
node $a$ is at least $\zeta^2$, and with nodes $t_i$ and $\mu$ the spectral measure of $g$

$$\zeta^2 - \text{Gauss} = \int \frac{\prod_i (1 - x / t_i)^2}{x}\, d\mu, \qquad
\zeta^2 - \text{Radau} = \int \frac{(1 - x / a) \prod_i (1 - x / t_i)^2}{x}\, d\mu.$$
""",
    steps=(
        Argument(
            r"A symmetric matrix has an orthonormal basis of eigenvectors. In that of $\tilde H$ "
            r"$g^{\top} \tilde H^j g = \int x^j d\mu$, with $d\mu \ge 0$ on the eigenvalues, weighted by the squared "
            r"components of $g$, and $\zeta^2 = \int x^{-1} d\mu$. In that of the tridiagonal matrix the eigenvalues "
            r"are nodes $t_i$, all positive, and the squared first components of its eigenvectors times $|g|^2$ their "
            r"weights. With one node set to $a$ by changing one entry of the matrix the rule is exact for one degree "
            r"more, with positive weights.",
            why="Coq's standard library has no eigenvectors of symmetric matrices",
        ),
        Theorem(
            r"Lanczos gives a matrix with the first $2n$ moments of $\tilde H$, so the rule is exact up to degree "
            r"$2n - 1$.",
            names=("Quadrature.lanczos_moments", "Quadrature.exact_by_moments"),
        ),
        Identity(
            r"$n = 1$: the remainder of $1 / x$ after the polynomial $p(x) = (1 - (1 - x / t)^2) / x$, which division "
            r"shows to be of degree 1,",
            1 / x - interpolant(gauss_1),
            gauss_1 / x,
        ),
        Identity(
            "At the node the polynomial has the value that the rule uses.", sp.Subs(interpolant(gauss_1), x, t), 1 / t
        ),
        Identity("$n = 2$: the same with a polynomial of degree 3,", 1 / x - interpolant(gauss_2), gauss_2 / x),
        Identity("The value at the first node.", sp.Subs(interpolant(gauss_2), x, t1), 1 / t1),
        Identity("The value at the second node.", sp.Subs(interpolant(gauss_2), x, t2), 1 / t2),
        Theorem(
            r"For any $n$: $\prod_i (1 - x / t_i)^2$ is 1 at $x = 0$, so $p(x) = (1 - \prod_i (1 - x / t_i)^2) / x$ "
            r"is a polynomial of degree $2n - 1$; the rule is exact for it, "
            r"and $p(t_i) = 1 / t_i$. So $\zeta^2$ minus the rule is the integral of $1 / x - p(x)$, which is not "
            "negative. A rule with one more node at or below the spectrum, exact for one degree more, is at least "
            r"$\zeta^2$.",
            names=("Quadrature.gauss_missed", "Quadrature.gauss_below", "Quadrature.radau_above"),
        ),
        Identity(
            r"Two steps of Lanczos without that theory, for any number of parameters. With the moments $m_j = \int "
            r"x^j d\mu = g^{\top} \tilde H^j g$ its definition is $\alpha_1 = m_1 / m_0$, $\beta^2 = \int (x - "
            r"\alpha_1)^2 d\mu / m_0$, $\alpha_2 = \int x (x - \alpha_1)^2 d\mu / (\beta^2 m_0)$. Its matrix $T$ has "
            "the moment of degree $2n - 1 = 3$:",
            THREE,
            whole * (lanczos**3)[0, 0],
            given=(*COEFFICIENTS, SECOND),
        ),
        Identity(
            "With the trace $s = t_1 + t_2$ and the determinant $d = t_1 t_2$ of $T$ the error of step 4 has the "
            "numerator $(1 - x s / d + x^2 / d)^2$:",
            (1 - x / t1) * (1 - x / t2),
            (1 - x * trace / determinant + x**2 / determinant),
            given=((trace, t1 + t2), (determinant, t1 * t2)),
        ),
        Identity(
            r"The gain less the integral of that error is the rule, $m_0 (T^{-1})_{11}$.",
            gain - integral((1 - x * trace / determinant + x**2 / determinant) ** 2 / x),
            whole * alpha_2 / determinant,
            given=(*EIGENVALUES, *COEFFICIENTS, SECOND),
        ),
        Inequality(
            ("For Gauss the integrand is never negative: the rule is a lower bound."),
            at_least(gauss_2 / x, sp.Integer(0)),
        ),
        Identity(r"Gauss-Radau, $n = 1$: a polynomial of degree 2", 1 / x - interpolant(radau_1), radau_1 / x),
        Identity("The polynomial agrees with $1 / x$ at the fixed node.", sp.Subs(interpolant(radau_1), x, a), 1 / a),
        Identity("It agrees at the free node.", sp.Subs(interpolant(radau_1), x, t), 1 / t),
        Identity(
            r"One step: in the matrix of $\alpha_1, \beta, \omega$ the last entry "
            r"$\omega = a + \beta^2 / (\alpha_1 - a)$ makes $a$ an eigenvalue.",
            (radau - a * sp.eye(2)).det(),
            sp.Integer(0),
            given=(LAST,),
        ),
        Identity(
            r"The other eigenvalue is $t = \alpha_1 + \omega - a$, and the gain less the integral of the error is the "
            r"rule.",
            gain - integral((1 - x / a) * (1 - x / t) ** 2 / x),
            whole * omega / (alpha_1 * omega - beta**2),
            given=((t, alpha_1 + omega - a), *COEFFICIENTS, LAST),
        ),
        Inequality(
            "On the spectrum, which lies above $a$, the integrand is never positive: the rule is an upper bound.",
            at_most(radau_1 / x, sp.Integer(0)),
            given=(at_least(x, a),),
        ),
        Identity(
            r"The classical error terms carry derivatives of $1 / x$ of order $2n$ (Gauss) and $2n + 1$ (Radau). By "
            r"induction the $n$-th is "
            r"$(-1)^n n! / x^{n+1}$, whose sign alternates in the same way:",
            sp.Derivative((-1) ** n * sp.factorial(n) / x ** (n + 1), x),
            (-1) ** (n + 1) * sp.factorial(n + 1) / x ** (n + 2),
        ),
        Inequality(
            "If $a$ is not below the spectrum, the rule need not be an upper bound: between $a$ and an eigenvalue "
            "below it the "
            "integrand is positive.",
            above(radau_1 / x, sp.Integer(0)),
            given=(above(a, x), above(t, x)),
        ),
    ),
    remark=r"""
Rounding of the matrix-vector products in floating point needs a separate bound. These are bounds of the gain for the
curvature that the products apply.
""",
)
