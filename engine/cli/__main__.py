"""``python -m engine.cli`` is ``portside``."""

from engine.cli.main import main

if __name__ == "__main__":
    main()
