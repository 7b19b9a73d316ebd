"""The scored text: sequences of tokens and their labels."""
