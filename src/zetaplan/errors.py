"""The hierarchy of errors. Every package may import this module, which imports none of them.

Every message names the argument, the layer, the value, the expected value and the remedy.
"""


class ZetaplanError(Exception):
    """Base of every error that zetaplan raises on purpose.

    Examples:
        >>> try:
        ...     zp.pruning([1, 3], sizes=-1.0)
        ... except zp.ZetaplanError as error:
        ...     print(type(error).__name__)
        SpecError
    """


class SpecError(ZetaplanError, ValueError):
    """An argument or a file does not describe a well-posed program.

    Examples:
        >>> zp.pruning([1, -3], sizes=1.0)
        Traceback (most recent call last):
        zetaplan.errors.SpecError: quality[1] = -3: a gain is a squared norm and cannot be negative; ...
    """


class InfeasibleError(SpecError):
    """The data are valid, but no plan satisfies every constraint.

    Examples:
        >>> zp.pruning([1, 3], sizes=1.0, sparsity=0.9, upper=0.5)
        Traceback (most recent call last):
        zetaplan.errors.InfeasibleError: target = 1.8: the caps allow 1.0 at most; lower the target to that, or ...
    """


class SolverError(ZetaplanError):
    """A solver returned no plan; the message includes the solver's own status.

    Examples:
        >>> zp.solve(zp.allocation([1, 3], costs=1.0, budget=6.0), method="cvxpy", solver="NONE")
        Traceback (most recent call last):
        zetaplan.errors.SolverError: solver = 'NONE' is not installed; cvxpy finds ...
    """


class CertificateError(ZetaplanError):
    """A certificate does not prove what it claims.

    Examples:
        >>> import json
        >>> file = zp.allocate(scores, mean_rank=4).save("plan.json")
        >>> document = json.loads(file.read_text())
        >>> document["solution"]["multiplier"] *= 2
        >>> _ = file.write_text(json.dumps(document))
        >>> zp.load_plan(file)
        Traceback (most recent call last):
        zetaplan.errors.CertificateError: ...
    """


class ScoringError(ZetaplanError):
    """A model or a text cannot be scored with the given arguments.

    Examples:
        >>> zp.score(model, {"input_ids": torch.zeros(1, 16, dtype=torch.int64)})  # one sequence has no spread
        Traceback (most recent call last):
        zetaplan.errors.ScoringError: ...
    """


def shown(value: object) -> str:
    """A value as text for a message: one line of at most 60 characters."""
    try:
        return " ".join(repr(value).split())[:60]
    except ValueError:  # an integer of thousands of digits
        return f"a value of type {type(value).__name__}"


def require(value: object, kind: type, argument: str, remedy: str) -> None:
    """Raise SpecError unless the value of the argument is of the kind."""
    if not isinstance(value, kind):
        raise SpecError(f"{argument} = {shown(value)}: expected {kind.__name__}; {remedy}")
