"""Menus of measured options, and the plan that takes one option for every block."""
