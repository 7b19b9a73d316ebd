"""One hierarchy of errors, a leaf that every room may import.

A message names the argument, the layer and the value, says what was expected, and what to do.
"""


class ZetaplanError(Exception):
    """Base of every error that zetaplan raises on purpose."""


class SpecError(ZetaplanError, ValueError):
    """An argument or a file does not describe a well-posed program."""


class InfeasibleError(SpecError):
    """The data are valid, but no plan satisfies every constraint."""


class SolverError(ZetaplanError):
    """A solver could not deliver a plan; the message carries its own status."""


class CertificateError(ZetaplanError):
    """A certificate does not prove what it claims."""


class ScoringError(ZetaplanError):
    """A model or a text cannot be scored as asked."""
