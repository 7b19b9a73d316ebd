"""Losses of the options of a menu, measured or estimated on a model."""
