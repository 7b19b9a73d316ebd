"""Jobs of several steps: `zetaplan run` and `zetaplan demo`."""
