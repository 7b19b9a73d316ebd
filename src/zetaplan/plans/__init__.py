"""From scores to a plan: what is decided, under which limit, in whole units, with its proof."""
