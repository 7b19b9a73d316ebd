"""Documents: records that are stored as separate files, in one canonical form."""

from __future__ import annotations

from zetaplan._files import canonical, digest
from zetaplan._records import Record


class Document(Record):
    """A record that is stored as a separate file."""

    def text(self) -> str:
        """The canonical text of the document."""
        return canonical(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """The sha256 of the canonical text, in hexadecimal."""
        return digest(self.text())
