"""Optimal plans in whole units."""
