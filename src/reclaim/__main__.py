"""``python -m reclaim`` is the program ``reclaim``."""

from reclaim.cli.main import main

if __name__ == "__main__":
    main()
