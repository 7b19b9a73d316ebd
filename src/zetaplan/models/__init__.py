"""Plans applied to models: pruning, LoRA adapters, calibration."""
