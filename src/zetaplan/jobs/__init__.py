"""Several steps from one declaration: `zetaplan run` and `zetaplan demo`."""
