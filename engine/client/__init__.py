"""The client of the Engine API: one typed, asynchronous door to our engine, dockerd and podman.

Imports model, wire and errors, never a manager. ``EngineClient`` is what callers use; ``dial.Dialer`` is
what a new transport (SSH, named pipes) fills in.
"""

from __future__ import annotations

from engine.client.client import EngineClient
from engine.client.endpoint import Endpoint, TlsFiles, parse_endpoint, resolve_endpoint
from engine.client.streams import HijackedStream, Output, Progress, ProgressStream, Stream

__all__ = [
    "Endpoint",
    "EngineClient",
    "HijackedStream",
    "Output",
    "Progress",
    "ProgressStream",
    "Stream",
    "TlsFiles",
    "parse_endpoint",
    "resolve_endpoint",
]
