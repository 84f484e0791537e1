"""What the window's program does to stay small."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from desktop.lean import clean_file_mappings

SMAPS = """\
10000-12000 r-xp 00000000 08:01 77   /usr/lib/libQt6Gui.so.6
Rss:   8 kB
Anonymous:             0 kB
12000-13000 r--p 00002000 08:01 77   /usr/lib/libQt6Gui.so.6
Anonymous:             4 kB
13000-14000 rw-p 00003000 08:01 77   /usr/lib/libQt6Gui.so.6
Anonymous:             0 kB
20000-29000 r--p 00000000 00:00 0
Anonymous:             0 kB
30000-31000 r--s 00000000 08:01 78   /usr/share/fonts/Inter-Bold.otf
Anonymous:             0 kB
40000-44000 r--p 00000000 08:01 79   /usr/lib/locale/locale-archive
Anonymous:             0 kB
50000-54000 r--p 00000000 08:01 79   /usr/lib/libc.so.6
Anonymous:             0 kB
"""


def test_only_unchanged_mappings_of_libraries_are_given_back() -> None:
    assert clean_file_mappings(SMAPS.splitlines()) == [(0x10000, 0x2000), (0x50000, 0x4000)]


def _run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.strip()


def test_openssl_is_loaded_only_when_tls_is_asked_for() -> None:
    program = """
        from desktop import lean
        lean.defer_tls()
        import asyncio, socket, sys
        async def main():
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=ours)
            theirs.send(b"x")
            assert await reader.read(1) == b"x"
            writer.close()
        asyncio.run(main())
        before = "_ssl" in sys.modules
        import ssl
        context = ssl.create_default_context()
        print(before, type(context).__name__, "asyncio" in ssl.SSLSocket.__module__)
    """
    assert _run(program) == "False SSLContext False"


def test_a_deferred_module_has_no_attributes_that_it_does_not_have() -> None:
    program = """
        from desktop import lean
        module = lean._defer("colorsys")
        print(hasattr(module, "__path__"), hasattr(module, "no_such_name"), module.rgb_to_hsv(0, 0, 0))
    """
    assert _run(program).startswith("False False (0.0, 0.0, 0")
