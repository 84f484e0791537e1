"""Building images: steps that are cached, steps that are not, large copies, stages at once. By the raw API."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING

from tests.bench.sides import Side

if TYPE_CHECKING:
    from tests.bench.cases import Figures, Result

_STEPS = 20
_RUNS = 10
_COPIED_BYTES = 300_000_000
_STAGES = 5
_MANY = 1000


def context(text: str, files: dict[str, bytes] | None = None) -> bytes:
    """Return a context as a tar."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as tar:
        for name, data in {"Dockerfile": text.encode(), **(files or {})}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target.getvalue()


def build(side: Side, data: bytes, query: str = "") -> float:
    """Build once and return the seconds; raises RuntimeError with what the engine says of a failure."""
    wire = side.wire()
    begun = time.perf_counter()
    answer = wire.upload(f"/build?rm=1&forcerm=1{query}", data)
    spent = time.perf_counter() - begun
    wire.close()
    if b'"errorDetail"' in answer or b"Successfully built" not in answer:
        raise RuntimeError(f"{side.name}: {answer[-500:].decode(errors='replace')}")
    return spent


def builds(sides: Sequence[Side]) -> list[Result]:
    """Unchanged rebuild of 20 steps, 10 RUN without cache, COPY of 300 MB, five stages of ``sleep 2``."""
    from tests.bench.cases import Result, in_turns

    steps = "".join(
        f"RUN echo {n} > /f{n}\n" if n % 4 == 0 else f"COPY f{n % 3} /c{n}/\n" if n % 4 == 1 else f"ENV E{n}={n}\n"
        for n in range(_STEPS)
    )
    unchanged = context(f"FROM busybox\n{steps}", {f"f{n}": b"x" * 1000 for n in range(3)})
    runs = context("FROM busybox\n" + "".join(f"RUN echo {n} > /f{n}\n" for n in range(_RUNS)))
    large = context("FROM busybox\nCOPY big /big\n", {"big": bytes(range(250)) * (_COPIED_BYTES // 250)})
    stages = "".join(f"FROM busybox AS s{n}\nRUN sleep 2; echo {n} > /s{n}\n" for n in range(_STAGES))
    gather = "".join(f"COPY --from=s{n} /s{n} /\n" for n in range(_STAGES))
    parallel = context(f"{stages}FROM busybox\n{gather}")

    def measured(data: bytes, query: str, rounds: int, warm: int = 1) -> Figures:
        return in_turns(sides, rounds, lambda side: build(side, data, query), warm=warm)

    return [
        Result("rebuild, nothing changed, 20 steps", "s", measured(unchanged, "", 7), 0.40),
        Result("10 RUN steps, no cache", "s", measured(runs, "&nocache=1", 3), 0.40),
        Result("COPY of 300 MB", "s", measured(large, "&nocache=1", 3), 0.70),
        Result("five stages of RUN sleep 2", "s", measured(parallel, "&nocache=1", 1, warm=0), 0.30),
    ]


def one_changed_file(sides: Sequence[Side]) -> list[Result]:
    """One file changed of 20,000 (400 MB), last COPY: ``portside build`` against ``docker build``."""
    from tests.bench.cases import Result, in_turns

    folder = sides[0].folder.parent / "context"
    folder.mkdir()
    for number in range(200):
        (folder / f"d{number}").mkdir()
        for inner in range(100):
            (folder / f"d{number}" / f"f{inner}").write_bytes(b"%09d\n" % (number * 100 + inner) * 2000)
    (folder / "Dockerfile").write_text("FROM busybox\nRUN echo a > /a\nCOPY . /c\n")
    changes = count()

    def run(side: Side) -> float:
        (folder / "d7/f7").write_text(f"{next(changes)}\n")
        begun = time.perf_counter()
        words = [sys.executable, "-m", "engine.cli"] if side.name == "portside" else ["docker"]
        environment = {**os.environ, "DOCKER_HOST": f"unix://{side.socket}", "DOCKER_BUILDKIT": "0"}
        subprocess.run([*words, "build", str(folder)], check=True, capture_output=True, timeout=600, env=environment)
        return time.perf_counter() - begun

    return [Result("one file of 20,000 (400 MB) changed", "s", in_turns(sides, 3, run), 0.40)]


def many_steps(sides: Sequence[Side]) -> list[Result]:
    """1,000 steps: a step at the end takes no longer than one at the beginning (ours alone)."""
    from tests.bench.cases import Result

    side = next(side for side in sides if side.name == "portside")

    def spent(steps: int, work: Callable[[int], str]) -> float:
        return build(side, context("FROM busybox\n" + "".join(work(n) for n in range(steps))), "&nocache=1")

    few, many = spent(_MANY // 10, "ENV A={}\n".format), spent(_MANY, "ENV A={}\n".format)
    figures = {"portside": many / _MANY * 1000}
    return [Result("a step of 1,000 against one of 100", "ms", figures, 1.5, baseline=few / (_MANY // 10) * 1000)]
