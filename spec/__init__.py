"""Programs, each declared once in `programs`, and instances, which are validated data."""
