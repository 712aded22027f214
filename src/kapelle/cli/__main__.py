"""`python -m kapelle.cli` is `kapelle`."""

from kapelle.cli import main

if __name__ == "__main__":
    main()
