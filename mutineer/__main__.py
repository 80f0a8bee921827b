"""`python -m mutineer`: the same as the command."""

from mutineer.cli import main

if __name__ == "__main__":
    main()
