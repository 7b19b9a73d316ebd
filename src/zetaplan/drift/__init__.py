"""What a plan can lose when scores change: intervals, regret, robust plans, a monitor for fine-tuning."""
