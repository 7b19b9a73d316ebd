"""Plans from scores: the decision, its limit, its whole units and its proof."""
