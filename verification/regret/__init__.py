"""Bounds on what a plan loses while scores stay in a box; no solver is used."""
