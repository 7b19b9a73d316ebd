"""The check of a certificate in fractions, without the plan that it belongs to."""

from __future__ import annotations

import os
from typing import Any

from zetaplan._files import path_of
from zetaplan.errors import CertificateError, SpecError
from zetaplan.verification import checker
from zetaplan.verification.menus import checker as choice_checker


def check_certificate(source: dict[str, Any] | str | os.PathLike[str]) -> checker.Verdict | choice_checker.Verdict:
    """Check a certificate in fractions, or the one under the key "proof" of a plan. source : a dict or a path.

    The check is that of `python checker.py`, which runs without zetaplan. The result lists the proved statements in
    `claims`. Raises CertificateError for a certificate that is malformed or does not prove its claims.

    Examples:
        >>> inst = zp.allocation([1, 3], costs=1.0, budget=6.0)
        >>> proof = zp.certify(inst, zp.solve(inst), exact=True).document
        >>> zp.check_certificate(proof).claims[0]
        'each layer is within 0 max(1, x) of the optimum'
    """
    try:
        read = source if isinstance(source, dict) else path_of(source, "source")
        document = read if isinstance(read, dict) else choice_checker.read(read)
        if isinstance(document, dict) and document.get("schema") in (choice_checker.SCHEMA, choice_checker.PLAN):
            return choice_checker.check_certificate(document)
        return checker.check_certificate(read)
    except (checker.CertificateError, choice_checker.CertificateError, SpecError) as error:
        raise CertificateError(str(error)) from error
