"""A short run of generated requests: no 500, no hang, nothing left. ``tests/long/generated_requests.py`` goes on."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import leaks_of
from tests.contract.schema import Description, find_description
from tests.engine_process import EngineProcess
from tests.generated import SETTINGS, Sender, clear
from tests.long.generated_requests import open_files, send_batch

REQUESTS = 600
SECONDS = 120.0


@pytest.fixture
def engine() -> Iterator[EngineProcess]:
    with tempfile.TemporaryDirectory(prefix="portside-gen-") as temporary:
        process = EngineProcess(Path(temporary), settings=SETTINGS)
        with process:
            process.load_busybox()
            yield process


@pytest.mark.timeout(400)
def test_no_generated_request_breaks_the_engine(engine: EngineProcess) -> None:
    path = find_description()
    if path is None:
        pytest.skip("the API's description is not beside the checkout; PORTSIDE_API_YAML names it")
    sender = Sender(engine)
    send_batch(sender, Description(path), REQUESTS, 51, time.monotonic() + SECONDS)
    assert not sender.faults, "\n".join(sender.faults.values())
    assert {200, 201, 204, 400, 404} <= set(sender.statuses), sender.statuses
    clear(engine)
    assert open_files(engine.pid) < 100
    engine.clean()
    assert leaks_of(engine) == []
