"""``python -m reclaim`` is the program ``reclaim``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the working directory, which -m puts first: no file there stands in for a library's

    from reclaim.cli.main import main

    main()
