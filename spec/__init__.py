"""What is optimised: programs declared once in `programs`, instances as validated data."""
