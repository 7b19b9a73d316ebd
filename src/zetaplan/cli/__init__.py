"""Command line: `app` registers the commands; every other file defines one command."""
