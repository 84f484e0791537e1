"""What keeps an idle engine small: aiohttp without its client until a registry is asked, few malloc arenas.

Called by ``__main__`` before anything of aiohttp is loaded; knows no other part of the engine. Everything
works without it, with about 6 MiB more.
"""

from __future__ import annotations

import ctypes
import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

_M_ARENA_MAX = -8
_ARENAS = 2


class _DeferredPackage(ModuleType):
    """A package whose ``__init__`` runs when a class of it (``ClientSession``) is first asked for.

    Its submodules can be imported before. Theirs are lower-case names, which must stay unknown here until
    they are loaded: the import system asks for them.
    """

    def __getattr__(self, name: str) -> object:
        if not name[:1].isupper() or self.__spec__ is None or self.__spec__.loader is None:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.__class__ = ModuleType  # type: ignore[assignment] # from now on a module like any other
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)


def defer_http_client() -> None:
    """Make ``from aiohttp import web`` load the server alone; the client follows by itself on its first use.

    aiohttp's ``__init__`` imports its client (4 MiB, 50 ms), which only pulls and logins need.
    """
    spec = importlib.util.find_spec("aiohttp") if "aiohttp" not in sys.modules else None
    if spec is None or not isinstance(spec.loader, importlib.machinery.SourceFileLoader):
        return
    found = re.search(r'^__version__ = "([^"]+)"', Path(spec.loader.path).read_text(), re.MULTILINE)
    if found is None:
        return
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _DeferredPackage
    package.__dict__["__version__"] = found[1]
    sys.modules["aiohttp"] = package


def limit_arenas() -> None:
    """Keep threads from getting a malloc arena each (glibc; elsewhere nothing happens)."""
    _call("mallopt", _M_ARENA_MAX, _ARENAS)


def give_back_memory() -> None:
    """Return what was freed to the kernel (glibc; elsewhere nothing happens)."""
    _call("malloc_trim", 0)


def _call(name: str, *numbers: int) -> None:
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*numbers)
