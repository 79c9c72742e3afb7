"""``python -m reclaim`` is the program ``reclaim``."""

from reclaim.cli import main

if __name__ == "__main__":
    main()
