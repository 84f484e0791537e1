"""What keeps an idle window small: PySide without its reading of sources, asyncio without OpenSSL, pages given back.

``prepare`` is called before anything of Qt or asyncio is loaded. Everything works without it, with 8 MiB more
and a start that is longer by the reading of 150 source files. Knows no other part of the desktop.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

_MADV_DONTNEED = 4
_MAPPINGS_A_STEP = 16
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ \S+ \d+ *(\S*)")
_LIBRARY = re.compile(r"/python[0-9.]+$|\.so(\.[0-9.]+)?$")


class _DeferredModule(ModuleType):
    """A module that runs when a name of it is first asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment] # from now on a module like any other
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


class _NotLoaded:
    """Stands for ``ssl.SSLSocket`` where asyncio asks of a socket whether it is one: without TLS none is."""


def prepare() -> None:
    """Defer OpenSSL until something asks for TLS, and stop PySide from reading the sources of what is imported."""
    defer_tls()
    _stop_reading_sources()


def defer_tls() -> None:
    """Make asyncio load without OpenSSL, which follows by itself when a name of ``ssl`` is first used."""
    _defer("ssl").__dict__["SSLSocket"] = _NotLoaded
    package = importlib.util.find_spec("asyncio")
    if package is not None:
        _defer("asyncio.sslproto", list(package.submodule_search_locations or []))


def _defer(name: str, folders: list[str] | None = None) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.machinery.PathFinder.find_spec(name, folders)
    if spec is None:
        return ModuleType(name)
    module = importlib.util.module_from_spec(spec)
    module.__class__ = _DeferredModule
    sys.modules[name] = module
    return module


def _stop_reading_sources() -> None:
    """Keep PySide's ``__feature__`` switch from reading, and keeping, each imported module's source.

    PySide 6.11 looks in it for the word PySide6 (inspect.getsource, whose lines linecache keeps: 6 MiB).
    Nothing here uses ``__feature__``. Can go when PySide looks only where the switch is used.
    """
    import linecache

    import PySide6  # noqa: F401 - makes shibokensupport known

    feature = sys.modules.get("shibokensupport.feature")
    if feature is not None and hasattr(feature, "_mod_uses_pyside"):
        feature.__dict__["_mod_uses_pyside"] = lambda module: False
    linecache.clearcache()


def give_back_pages() -> Iterator[None]:
    """Unmap, a few at each step, the pages of libraries that only the start has touched.

    They stay in the system's page cache, from where those that are needed again come back within
    microseconds; in steps, since a window that needs them all at once would be seen to wait. For the thread
    that loads and unloads libraries (Linux; elsewhere nothing happens).
    """
    try:
        with Path("/proc/self/smaps").open(errors="replace") as lines:
            mappings = clean_file_mappings(lines)
        advise = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for number, (start, length) in enumerate(mappings):
        if number % _MAPPINGS_A_STEP == 0:
            yield
        advise(start, length, _MADV_DONTNEED)


def clean_file_mappings(smaps: Iterable[str]) -> list[tuple[int, int]]:
    """Return (address, bytes) of the read-only mappings of libraries in the lines of smaps that hold no changed page.

    What the dynamic linker changed before it made a mapping read-only is such a page (``Anonymous:``): to
    drop it would undo the relocations.
    """
    found: list[tuple[int, int]] = []
    mapping: tuple[int, int] | None = None
    for line in smaps:
        head = _MAPPING.match(line)
        if head is not None:
            start, end = int(head[1], 16), int(head[2], 16)
            is_candidate = head[3] in ("r-xp", "r--p") and _LIBRARY.search(head[4])
            mapping = (start, end - start) if is_candidate else None
        elif mapping is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                found.append(mapping)
            mapping = None
    return found
