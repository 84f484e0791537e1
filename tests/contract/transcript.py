"""Recorded sessions: requests one after the other, readable as a transcript, without any answer.

    ## Containers that come and go

    POST /containers/create?name=web
    {"Image": "busybox", "Cmd": ["sh"]}
    -> web = Id

    GET /containers/{web}/json

A blank line ends a request. ``-> name = Key.0.Other`` keeps a part of the answer for later requests, ``@ Name: value``
sends a header, ``= text`` sends a body as it is, ``< text`` takes the connection over and sends that as input,
``tar: file=content folder/ link->target`` sends an archive, and any other line is a part of a JSON body. ``#`` begins
a comment.
"""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH")
SESSIONS = Path(__file__).with_name("sessions")


@dataclass
class Step:
    """A request. ``section`` and ``number`` (in it, from 1) name it."""

    section: str
    number: int
    method: str
    target: str
    body: bytes = b""
    stdin: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    keeps: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What tells it from every other one, readably."""
        return f"{self.section} / {self.number}: {self.method} {self.target}"

    @property
    def operation(self) -> str:
        """Its method and path, without query."""
        return f"{self.method} {self.target.partition('?')[0]}"


def parse(text: str) -> list[Step]:
    """Return the steps of a transcript; raises ValueError at the first line that has no meaning."""
    steps: list[Step] = []
    section, number = "", 0
    current: Step | None = None
    for at, line in enumerate(text.splitlines(), 1):
        if line.startswith("## "):
            section, number, current = line[3:].strip(), 0, None
        elif line.startswith("#"):
            continue
        elif not line.strip():
            current = None
        elif current is None:
            method, _, target = line.partition(" ")
            if method not in METHODS or not target.startswith("/") or not section:
                raise ValueError(f"line {at} begins no request: {line}")
            number += 1
            current = Step(section, number, method, target.strip())
            steps.append(current)
        else:
            _continue(current, line)
    return steps


def _continue(step: Step, line: str) -> None:
    if line.startswith("-> "):
        name, _, path = line[3:].partition(" = ")
        step.keeps[name.strip()] = path.strip()
    elif line.startswith("@ "):
        name, _, value = line[2:].partition(":")
        step.headers[name.strip()] = value.strip()
    elif line.startswith("= "):
        step.body = unescape(line[2:])
    elif line.startswith("< "):
        step.stdin = unescape(line[2:])
        step.headers |= {"Connection": "Upgrade", "Upgrade": "tcp"}
    elif line.startswith("tar:"):
        step.body = make_tar(line[4:].split())
        step.headers.setdefault("Content-Type", "application/x-tar")
    else:
        step.body += line.strip().encode()


def unescape(text: str) -> bytes:
    """Return the bytes that a line means: Python's escapes, one byte for each."""
    return text.encode().decode("unicode_escape").encode("latin-1")


def make_tar(words: list[str]) -> bytes:
    """Return an archive: ``file=content``, ``folder/``, ``link->target``; all of one fixed time."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for word in words:
            name, arrow, target = word.partition("->")
            info = tarfile.TarInfo(name.partition("=")[0].rstrip("/"))
            info.mtime = 1_700_000_000
            data = b""
            if arrow:
                info.type, info.linkname = tarfile.SYMTYPE, target
            elif word.endswith("/"):
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            else:
                data = word.partition("=")[2].encode()
                info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return output.getvalue()


def kept_value(answer: object, path: str) -> str:
    """Return a part of a JSON answer, ``Key.0.Other``; raises KeyError when it is not there."""
    value: object = answer
    for word in path.split("."):
        if isinstance(value, dict) and word in value:
            value = value[word]
        elif isinstance(value, list) and word.lstrip("-").isdigit() and int(word) < len(value):
            value = value[int(word)]
        else:
            raise KeyError(f"{path} is not in {json.dumps(answer)[:200]}")
    return str(value)


def load_sessions(folder: Path = SESSIONS) -> list[Step]:
    """Return the steps of all sessions, by the order of their files' names."""
    steps: list[Step] = []
    for path in sorted(folder.glob("*.txt")):
        parsed = parse(path.read_text(encoding="utf-8"))
        twice = {step.section for step in parsed} & {step.section for step in steps}
        if twice:
            raise ValueError(f"{path.name}: another session has the section {twice}")
        steps += parsed
    return steps
