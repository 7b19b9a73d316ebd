"""The pages of the proofs and the ledger, generated when the site is built; what does not hold stops the build."""

from __future__ import annotations

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_build_date

from zetaplan.verification.ledger.page import ledger_page
from zetaplan.verification.proofs.page import proof_pages


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that lie in the folder. SOURCE_DATE_EPOCH, where set, dates them."""
    pages = {f"proofs/{name}": text for name, text in proof_pages().items()}
    for path, text in (pages | {"ledger.md": ledger_page(get_build_date())}).items():
        files.append(File.generated(config, path, content=text))
    listed = next(entry["Proofs"] for entry in config.nav or () if "Proofs" in entry)
    listed += sorted(path for path in pages if path not in listed)
    return files
