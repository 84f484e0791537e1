"""A real distribution for real: Debian with PostgreSQL 15 and nginx, the engine killed in the middle of writes.

``python -m tests.long.real_image [FOLDER]`` as root; takes two to five minutes, most of it debootstrap. With a
folder an earlier root file system in it is used again. Prints what it did; ends with 1 when a row is lost.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.engine_process import EngineProcess

ROWS = 10_000
_PACKAGES = "postgresql-15,nginx-light,procps"
_SERVE = (
    "mkdir -p /srv/db && chown postgres /srv/db && "
    "su postgres -c '/usr/lib/postgresql/15/bin/initdb -D /srv/db/data -A trust >/dev/null' && "
    "exec su postgres -c \"exec /usr/lib/postgresql/15/bin/postgres -D /srv/db/data -c listen_addresses='*'\""
)


def make_root(folder: Path) -> Path:
    """Return a root file system with PostgreSQL and nginx, made by debootstrap unless it is there."""
    root = folder / "root"
    if not (root / "usr/sbin/nginx").exists():
        command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", "bookworm", str(root)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return root


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def psql(engine: EngineProcess, statement: str, *, check: bool = True) -> str:
    """Return what PostgreSQL answers."""
    done = engine.docker(
        "exec", "-i", "db", "psql", "-U", "postgres", "-h", "127.0.0.1", "-qAt", "-v", "ON_ERROR_STOP=1",
        stdin=statement.encode(), check=check,
    )  # fmt: skip
    return done.stdout.strip()


def wait_for_database(engine: EngineProcess) -> None:
    """Wait until PostgreSQL answers; raises after a minute."""
    for _ in range(120):
        if psql(engine, "SELECT 1", check=False) == "1":
            return
        time.sleep(0.5)
    raise RuntimeError(engine.docker("logs", "db").stderr)


def main(arguments: list[str]) -> int:
    """Run it; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="portside-real-") as temporary:
        root = make_root(Path(arguments[0]) if arguments else Path(temporary))
        folder = Path(temporary) / "engine"
        folder.mkdir()
        with EngineProcess(folder) as engine:
            began = time.monotonic()
            with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
                assert tar.stdout is not None
                done = subprocess.run(
                    ["docker", "-H", engine.url, "import", "-", "debian-real"],
                    stdin=tar.stdout,
                    check=True,
                    capture_output=True,
                )
            say(f"import: {done.stdout.decode().strip()[:19]} in {time.monotonic() - began:.1f} s")
            return run_database(engine) or run_nginx(engine)


def run_database(engine: EngineProcess) -> int:
    """Write rows while the engine is killed, then count them."""
    engine.docker("run", "-d", "--name", "db", "-v", "pg:/srv", "debian-real", "sh", "-c", _SERVE)
    wait_for_database(engine)
    psql(engine, "CREATE TABLE numbers (n integer PRIMARY KEY, at timestamptz DEFAULT now())")
    statements = "".join(f"INSERT INTO numbers (n) VALUES ({number});\n" for number in range(ROWS))
    # The client runs in the container: it must not notice that the engine goes.
    engine.docker("exec", "-i", "db", "sh", "-c", "cat >/tmp/rows.sql", stdin=statements.encode())
    engine.docker(
        "exec", "-d", "db", "sh", "-c", "psql -U postgres -h 127.0.0.1 -q -f /tmp/rows.sql; echo done >/tmp/ended"
    )
    time.sleep(0.5)
    before = int(psql(engine, "SELECT count(*) FROM numbers"))
    engine.kill()
    time.sleep(1.0)
    engine.start()
    meanwhile = int(psql(engine, "SELECT count(*) FROM numbers"))
    for _ in range(240):
        if engine.docker("exec", "db", "cat", "/tmp/ended", check=False).stdout:
            break
        time.sleep(0.5)
    rows = int(psql(engine, "SELECT count(*) FROM numbers"))
    say(f"rows: {before} when the engine was killed, {meanwhile} when it was back, {rows} at the end")
    engine.docker("stop", "db")
    engine.docker("rm", "db")
    serve_again = "exec su postgres -c 'exec /usr/lib/postgresql/15/bin/postgres -D /srv/db/data'"
    engine.docker("run", "-d", "--name", "db", "-v", "pg:/srv", "debian-real", "sh", "-c", serve_again)
    wait_for_database(engine)
    again = int(psql(engine, "SELECT count(*) FROM numbers"))
    say(f"rows in another container on the same volume: {again}")
    engine.docker("rm", "-f", "db")
    engine.docker("volume", "rm", "pg")
    return 0 if rows == again == ROWS and before < rows else 1


def run_nginx(engine: EngineProcess) -> int:
    """Serve through a published port, over a kill of the engine."""
    engine.docker(
        "run", "-d", "--name", "web", "-p", "127.0.0.1::80", "debian-real", "sh", "-c",
        "mkdir -p /run /var/log/nginx; echo served >/var/www/html/index.html; exec nginx -g 'daemon off;'",
    )  # fmt: skip
    address = engine.docker("port", "web", "80").stdout.strip()
    answers = [_fetch(address)]
    engine.kill()
    answers.append(_fetch(address))
    engine.start()
    answers.append(_fetch(address))
    say(f"nginx on {address}: before, without and after the engine: {answers}")
    engine.docker("rm", "-f", "web")
    return 0 if answers == ["served"] * 3 else 1


def _fetch(address: str) -> str:
    for _ in range(50):
        done = subprocess.run(
            ["wget", "-q", "-O", "-", f"http://{address}/"], capture_output=True, text=True, check=False
        )
        if done.stdout:
            return done.stdout.strip()
        time.sleep(0.1)
    return "no answer"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
