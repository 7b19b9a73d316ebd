"""`python -m zetaplan` is `zetaplan`."""

from zetaplan.cli import main

if __name__ == "__main__":
    main()
