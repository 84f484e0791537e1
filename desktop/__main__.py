"""The window's program: make the process lean, then everything else."""

from __future__ import annotations

import sys

from desktop import lean


def main() -> int:
    """Run the desktop; returns the exit code."""
    lean.prepare()
    from desktop.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
