"""Schema of `zetaplan.certificate/1` as a separate file."""

from __future__ import annotations

from zetaplan.documents.schemas.document import Document
from zetaplan.plans.proof import FractionProof


class CertificateFile(FractionProof, Document):
    """`zetaplan.certificate/1`: a proof in fractions, which the stand-alone checker reads."""
