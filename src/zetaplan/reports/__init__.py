"""Plans for readers: HTML and Markdown reports, charts, tables, baselines."""
