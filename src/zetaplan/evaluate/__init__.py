"""Evaluation of models: perplexity, multiple choice, lm-eval."""
