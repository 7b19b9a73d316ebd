"""The pages of the proofs, generated when the site is built; a step that does not hold stops the build."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from zetaplan.verification.proofs.page import proof_pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that lie in the folder."""
    for name, content in proof_pages().items():
        files.append(File.generated(config, f"proofs/{name}", content=content))
    return files
