"""Schemas of files: `zetaplan.scores/1`, `zetaplan.plan/1`, `zetaplan.certificate/1`."""
