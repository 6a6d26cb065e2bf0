"""`python -m fdetect` is the command line."""

from fdetect.cli import main

if __name__ == "__main__":
    main()
