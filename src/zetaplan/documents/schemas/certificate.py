"""Schemas of `zetaplan.certificate/1` and `zetaplan.certificate/2` as separate files."""

from __future__ import annotations

from zetaplan.documents.schemas.document import Document
from zetaplan.menus.proof import ChoiceProof
from zetaplan.plans.proof import FractionProof


class CertificateFile(FractionProof, Document):
    """`zetaplan.certificate/1`: a proof in fractions, which the stand-alone checker reads."""


class ChoiceCertificateFile(ChoiceProof, Document):
    """`zetaplan.certificate/2`: a proof of a choice in fractions, which its own stand-alone checker reads."""
