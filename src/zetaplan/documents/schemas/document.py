"""Documents: records that are stored as separate files, in one canonical form."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from zetaplan._files import canonical, digest
from zetaplan._records import Record


class Document(Record):
    """A record that is stored as a separate file."""

    def text(self) -> str:
        """The canonical text of the document."""
        return canonical(self.model_dump())

    def sha256(self) -> str:
        """The sha256 of the canonical text, in hexadecimal."""
        return digest(self.text())


class Sealed(Document):
    """A document with its own sha256, whose last field is a document too, `inner`, with the sha256 of that."""

    inner: ClassVar[str]

    schema_: str = Field(alias="schema")
    sha256_: str = Field("", alias="sha256", description="sha256 of this document with this field empty")

    def sealed(self) -> Self:
        """The same document with both sha256 filled in."""
        named = self.model_copy(update={f"{self.inner}_sha256": getattr(self, self.inner).sha256(), "sha256_": ""})
        return named.model_copy(update={"sha256_": named.sha256()})

    def sealed_text(self) -> str:
        """The canonical text of `sealed`, from one serialisation: only the lines of both sha256 are filled in."""
        text = self.model_copy(update={f"{self.inner}_sha256": "", "sha256_": ""}).text()
        text = _filled(text, f"{self.inner}_sha256", digest(self._inner_text(text)))
        return _filled(text, "sha256", digest(text))

    def intact(self, text: str | None = None) -> tuple[bool, bool]:
        """Whether its own sha256, and that of the inner document, are those of the document.

        text : of the file that it was read from. If that is in the canonical form, the document is not written again.
        """
        if text is not None and self._digests(text) == (True, True):
            return True, True
        return self._digests(self.text())

    def _digests(self, text: str) -> tuple[bool, bool]:
        empty = text.replace(f'\n  "sha256": "{self.sha256_}"', '\n  "sha256": ""', 1)
        inner = digest(self._inner_text(text))
        return digest(empty) == self.sha256_, inner == getattr(self, f"{self.inner}_sha256")

    def _inner_text(self, text: str) -> str:
        """The canonical text of the inner document, whose lines end the canonical text of this one."""
        lines = text.rpartition(f'\n  "{self.inner}": ')[2].removesuffix("\n}\n")
        return lines.replace("\n  ", "\n") + "\n"


def _filled(text: str, field: str, value: str) -> str:
    return text.replace(f'\n  "{field}": ""', f'\n  "{field}": "{value}"', 1)
