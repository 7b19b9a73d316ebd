"""The text that a model is scored on: sequences of tokens and their labels."""
