"""`python -m kapelle` is `kapelle`."""

from kapelle.cli import main

if __name__ == "__main__":
    main()
