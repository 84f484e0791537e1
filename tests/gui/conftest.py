"""A Qt loop for all tests of the window, and a stage for each."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

pytest.importorskip("PySide6.QtWidgets", reason="the window's packages are not installed")

from PySide6.QtWidgets import QApplication
from qasync import QEventLoop  # type: ignore[import-untyped]

from tests.gui.fake_engine import FakeEngine, container, image
from tests.gui.stage import Stage


@pytest.fixture
def qt_loop(qapp: QApplication) -> Iterator[QEventLoop]:
    """Qt's loop as asyncio's."""
    loop = QEventLoop(qapp)
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def engine() -> FakeEngine:
    """An engine with three containers and three images."""
    return FakeEngine(
        [
            container("web", status="Up 3 minutes (healthy)", ports=((8080, 80), (8443, 443))),
            container("db", "postgres:17"),
            container("migrate", "api:2.4.1", "exited", "Exited (3) 2 minutes ago"),
        ],
        [
            image("nginx:1.27-alpine"),
            image("postgres:17", 430_000_000),
            image("alpine:3.20", 8_000_000),
            image("", 12_000_000),
        ],
    )


@pytest.fixture
def stage(qapp: QApplication, qt_loop: QEventLoop, engine: FakeEngine) -> Stage:
    """The window over ``engine``."""
    return Stage(qapp, engine, "--theme", "light")
