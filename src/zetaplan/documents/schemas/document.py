"""Documents: records that are files of their own, written in one canonical form."""

from __future__ import annotations

from zetaplan._files import canonical, digest
from zetaplan._records import Record


class Document(Record):
    """A record that is a file of its own."""

    def text(self) -> str:
        """The canonical text of the document."""
        return canonical(self.model_dump(mode="json"))

    def sha256(self) -> str:
        """The sha256 of the canonical text, in hexadecimal."""
        return digest(self.text())
