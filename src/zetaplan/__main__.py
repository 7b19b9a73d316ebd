"""`python -m zetaplan` is `zetaplan`."""

from zetaplan.cli.app import main

if __name__ == "__main__":
    main()
