"""Menus that other tools write, one file per format.

A reader is a file with `recognises(text)`, which says whether a text is of the format, and `read(text)`, which gives
the menu and raises SpecError, in one line, for a text that breaks the format.
"""
