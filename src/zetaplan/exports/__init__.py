"""Plans as the settings of the tools that apply them, each entry checked against the model's own modules."""
