"""Entry point of `python -m zetaplan`, which runs the command `zetaplan`."""

from zetaplan.cli.app import main

if __name__ == "__main__":
    main()
