"""An engine starts without aiohttp's client, and still gets it when it is asked for."""

from __future__ import annotations

import subprocess
import sys

_START = "import sys; from engine import lean; lean.limit_arenas(); lean.defer_http_client(); import engine.engine; "


def _python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _START + code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_engine_loads_without_the_http_client() -> None:
    assert _python("print('aiohttp.client' in sys.modules, 'aiohttp.web' in sys.modules)") == "False True"


def test_the_http_client_comes_on_its_first_use() -> None:
    code = (
        "import aiohttp; print(aiohttp.ClientSession.__module__, aiohttp.ClientTimeout(total=1).total, "
        "aiohttp.ClientError.__name__, aiohttp.web.Application.__name__, type(aiohttp).__name__)"
    )
    assert _python(code) == "aiohttp.client 1 ClientError Application module"


def test_an_attribute_that_is_not_there_stays_an_error() -> None:
    code = "import aiohttp; print(hasattr(aiohttp, 'nothing'), hasattr(aiohttp, 'Nothing'))"
    assert _python(code) == "False False"


def test_memory_can_be_given_back() -> None:
    assert _python("lean.give_back_memory(); print('done')") == "done"
