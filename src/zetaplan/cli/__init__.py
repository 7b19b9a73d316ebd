"""The command line: `app` holds the commands, every other file is one command."""
