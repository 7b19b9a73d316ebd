"""Regret of a plan when scores change: intervals, bounds, robust plans, and a monitor for fine-tuning."""
