"""The window's program is lean: measured in a process of its own, since this one has loaded everything already."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent


def test_pyside_reads_no_sources_and_pages_can_be_given_back() -> None:
    program = """
        from desktop import lean
        lean.prepare()
        import linecache
        from PySide6.QtWidgets import QApplication, QLabel
        app = QApplication([])
        label = QLabel("text")
        label.show()
        app.processEvents()
        import asyncio, fractions, sys
        read = len(linecache.cache)
        def resident():
            return int(next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Rss")).split()[1])
        before = resident()
        for _ in lean.give_back_pages():
            pass
        given_back = before - resident()
        label.setText("again")
        app.processEvents()
        print(read, "_ssl" in sys.modules, given_back > 5_000, label.text())
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"QT_QPA_PLATFORM": "offscreen", "PATH": "/usr/bin:/bin"},
    )
    assert done.stdout.strip() == "0 False True again"
