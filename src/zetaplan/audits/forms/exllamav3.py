"""`exllamav3`: a measurement. It holds the options of every group of linears, and no plan takes any of them yet.

Every bitrate of the measurement, taken by all groups, is compared with the best choice of the same size.
"""

from __future__ import annotations

from zetaplan.audits.foreign import ForeignPlan, Source
from zetaplan.errors import SpecError
from zetaplan.menus.readers import exllamav3


def recognises(source: Source) -> bool:
    """Is it JSON with groups of candidates?"""
    return exllamav3.recognises(source.text)


def read(source: Source) -> ForeignPlan:
    """The menu of the groups."""
    try:
        menu = exllamav3.read(source.text)
    except SpecError as error:
        raise SpecError(f"{source.path}: {error}") from error
    return ForeignPlan("exllamav3", "", menu=menu, remarks=("the file holds options and no plan",))
