"""The plans that are compared, one file per kind of decision. Every file has `ROWS`, by the name in the table."""
