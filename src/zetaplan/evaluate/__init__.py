"""How good a model is: perplexity, multiple choice, lm-eval."""
