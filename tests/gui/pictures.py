"""Draws every state of the window into docs/pictures, light and dark: ``python -m tests.gui.pictures [FOLDER]``."""

from __future__ import annotations

import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
os.environ["QT_API"] = "pyside6"

from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication, QDialog
from qasync import QEventLoop  # type: ignore[import-untyped]

from desktop.messages import Message
from desktop.pages.images.presenter import PullStep
from desktop.state.connection import Stage as Phase
from desktop.widgets.palette import Palette
from engine.errors import Forbidden, Unavailable
from tests.gui.fake_engine import FakeEngine, container, gone, image, network, volume
from tests.gui.stage import Stage

WIDTH, HEIGHT = 1180, 740
SHOP = "registry.example.com/shop"
MIDDLE = (900, 540)
SMALL = (800, 560)

Play = Callable[[Stage], Awaitable[None]]


def everyday() -> FakeEngine:
    """Return an engine as one has it on a working day."""
    engine = FakeEngine(
        [
            container("web", status="Up 3 hours (healthy)", ports=((8080, 80), (8443, 443)), age_s=11_000),
            container("api", f"{SHOP}/api:2.4.1", status="Up 3 hours (healthy)", ports=((3000, 3000),), age_s=11_000),
            container("postgres", "postgres:17", status="Up 2 days (healthy)", ports=((5432, 5432),), age_s=400_000),
            container("redis", "redis:7-alpine", status="Up 2 days", age_s=400_000),
            container("worker", f"{SHOP}/worker:2.4.1", status="Up 12 minutes (unhealthy)", age_s=11_000),
            container("mail", "mailpit:v1.21", status="Up 5 hours", ports=((8025, 8025), (1025, 1025)), age_s=18_100),
            container("migrate", f"{SHOP}/api:2.4.1", "exited", "Exited (3) 12 minutes ago", age_s=780),
            container("seed", f"{SHOP}/api:2.4.1", "exited", "Exited (0) 3 hours ago", age_s=11_000),
            container("backup", "restic/restic:0.17", "paused", "Up 20 minutes (Paused)", age_s=1300),
            container("scratch", "busybox:1.37", "created", "Created", age_s=40),
        ],
        [
            image("nginx:1.27-alpine", 48_200_000), image(f"{SHOP}/api:2.4.1", 212_000_000, 90_000),
            image(f"{SHOP}/worker:2.4.1", 219_000_000, 90_000), image("postgres:17", 438_000_000),
            image("redis:7-alpine", 41_300_000), image("mailpit:v1.21", 29_800_000),
            image("busybox:1.37", 4_260_000),
            image("restic/restic:0.17", 33_100_000), image("debian:12-slim", 74_800_000, 86_400 * 40),
            image("", 211_000_000, 200_000), image("", 209_000_000, 300_000),
        ],
    )  # fmt: skip
    engine.serves_stats = True
    shares = {"web": (0.8, 21), "api": (12.4, 184), "postgres": (3.1, 312), "redis": (0.3, 9), "worker": (96.2, 402),
              "mail": (0.1, 17)}  # fmt: skip
    for item in engine.containers_.values():
        percent, memory = shares.get(item.names[0][1:], (0.0, 1))
        engine.usage[item.id] = (percent, memory * 1024 * 1024)
    engine.log = log_lines()
    made = [network("bridge", "172.17.0.0/16"), network("host", driver="host"), network("none", driver="null"),
            network("shop_front", "172.20.0.0/16"), network("shop_back", "172.21.0.0/16"),
            network("lab", "10.9.0.0/24", "macvlan")]  # fmt: skip
    made[4].internal = True
    kept = [volume("shop_pgdata", 400_000), volume("shop_uploads"), volume("redis-data"),
            volume("old-backups", 9_000_000), volume("3f" * 32, 3000)]  # fmt: skip
    engine.have(kept, made)
    engine.place("web", {"shop_front": "172.20.0.2"}, ["shop_uploads"])
    engine.place("api", {"shop_front": "172.20.0.3", "shop_back": "172.21.0.2"}, ["shop_uploads"])
    engine.place("worker", {"shop_back": "172.21.0.3"})
    engine.place("postgres", {"shop_back": "172.21.0.4"}, ["shop_pgdata"])
    engine.place("redis", {"shop_back": "172.21.0.5"}, ["redis-data"])
    for number, name in enumerate(("mail", "seed", "scratch", "backup")):
        engine.place(name, {"bridge": f"172.17.0.{number + 2}" if name in ("mail", "backup") else ""})
    return engine


def log_lines() -> list[tuple[bytes, bool]]:
    """Return what a web server writes."""
    paths = ("/", "/static/app.css", "/api/orders?page=2", "/api/orders/1841", "/health", "/static/logo.svg")
    lines: list[tuple[bytes, bool]] = []
    for number in range(400):
        path = paths[number * 7 % len(paths)]
        moment = f"24/Nov/2026:12:{number // 60 % 60:02d}:{number % 60:02d} +0000"
        status = 404 if number % 23 == 0 else 200
        line = f'172.17.0.1 - - [{moment}] "GET {path} HTTP/1.1" {status} {(number * 137) % 9000} "-" "curl/8.5.0"\n'
        lines.append((line.encode(), False))
        if status == 404:
            lines.append((f'2026/11/24 [error] 29#29: *{number} open() "/usr/share{path}" failed\n'.encode(), True))
    return lines


async def containers(stage: Stage) -> None:
    """The page with everything running."""
    await stage.loaded()
    page = stage.desktop.containers_page
    assert page is not None
    await stage.until(lambda: page._feed.is_served)
    await asyncio.sleep(0.8)


async def selection(stage: Stage) -> None:
    """Several containers selected."""
    await containers(stage)
    page = stage.desktop.containers_page
    assert page is not None
    page.table.select(page.model.rows()[1].id)
    model = page.table.selectionModel()
    for place in (2, 4):
        flags = model.SelectionFlag.Select | model.SelectionFlag.Rows
        model.select(page.model.index(place, 0), flags)


async def delete_question(stage: Stage) -> None:
    """The question before containers are deleted."""
    await selection(stage)
    assert stage.desktop.containers_page is not None
    stage.desktop.containers_page.ask_to_remove()
    await stage.dialog()


async def _detail(stage: Stage, tab: int) -> None:
    await stage.loaded()
    page = stage.desktop.containers_page
    assert page is not None
    page.show_detail(next(row.id for row in page.model.rows() if row.name == "web"))
    page.detail.tabs.setCurrentIndex(tab)
    await asyncio.sleep(0.2)


async def logs(stage: Stage) -> None:
    """The log of a container, searched."""
    await _detail(stage, 0)
    page = stage.desktop.containers_page
    assert page is not None
    page.logs_tab.text.search.setText("orders")


async def overview(stage: Stage) -> None:
    """What a container is."""
    await _detail(stage, 4)


async def inspect(stage: Stage) -> None:
    """A container's configuration."""
    await _detail(stage, 5)


async def stats(stage: Stage) -> None:
    """What a container uses."""
    stage.engine.samples = list(samples())
    await _detail(stage, 2)
    await asyncio.sleep(0.3)


def samples() -> Iterator[dict[str, Any]]:
    """Yield four minutes of figures of a busy web server."""
    sent = read = total = 0
    for second in range(240):
        wave = 0.5 + 0.5 * math.sin(second / 17) + 0.35 * math.sin(second / 5.3)
        cpu, memory = max(0.02, 0.6 * wave), 180e6 + 60e6 * math.sin(second / 60) + 4e6 * math.sin(second)
        sent += int(2.4e6 * max(0.0, wave))
        read += int(9e5 * max(0.0, math.sin(second / 23) - 0.6))
        total += int(cpu * 1e9)
        moment = datetime.fromtimestamp(1_795_000_000 + second, UTC).isoformat()
        before = {"cpu_usage": {"total_usage": total - int(cpu * 1e9)}, "system_cpu_usage": (second + 9) * 10**9}
        yield {
            "read": moment, "memory_stats": {"usage": int(memory), "limit": 512 * 1024 * 1024, "stats": {}},
            "cpu_stats": {"cpu_usage": {"total_usage": total}, "system_cpu_usage": (second + 10) * 10**9,
                          "online_cpus": 1},
            "precpu_stats": before, "pids_stats": {"current": 12 + second // 50},
            "networks": {"eth0": {"rx_bytes": sent // 7, "tx_bytes": sent}},
            "blkio_stats": {"io_service_bytes_recursive": [{"op": "read", "value": read},
                                                           {"op": "write", "value": sent // 9}]},
        }  # fmt: skip


async def terminal(stage: Stage) -> None:
    """A shell in a container."""
    await _detail(stage, 1)
    await stage.until(lambda: stage.engine.shells)
    shell = stage.engine.shells[0]
    shell.show(
        b"ls --color /usr/share/nginx\r\n"
        b"\x1b[1;34mhtml\x1b[0m  \x1b[1;34mmodules\x1b[0m  \x1b[0;32mstart.sh\x1b[0m\r\n"
        b"/ # df -h | head -3\r\nFilesystem                Size      Used Available Use% Mounted on\r\n"
        b"overlay                 251.9G     25.1G    226.8G  10% /\r\n"
        b"tmpfs                    64.0M         0     64.0M   0% /dev\r\n"
        b"/ # grep -c . /etc/passwd; \x1b[31mcat /nothing\x1b[0m\r\n19\r\n\x1b[31mcat: can't open '/nothing'\x1b[0m\r\n"
    )
    for block in range(6):
        shell.show(b"".join(b"\x1b[48;5;%dm \x1b[0m" % (16 + block * 36 + number) for number in range(36)) + b"\r\n")
    shell.show("漢字 · ┌──┐ naïve ✓\r\n/ # ".encode())
    await asyncio.sleep(0.2)


async def processes(stage: Stage) -> None:
    """What runs in a container."""
    await _detail(stage, 3)


async def images(stage: Stage) -> None:
    """The Images page."""
    await stage.loaded()
    stage.window.go_to(1)


async def pull(stage: Stage) -> None:
    """A pull with its layers."""
    await images(stage)
    page = stage.desktop.images_page
    assert page is not None
    layers = ("3da95a905ed5", "60e45a9660cf", "c1ab4c4b0d0e", "7c3d9b5a11f2", "a8f1d9a7c0b4")
    states = (("Pull complete", 0), ("Extracting", 0), ("Downloading", 62), ("Downloading", 18), ("Waiting", 0))
    steps = [PullStep("17", "Pulling from library/postgres")]
    for layer, (status, percent) in zip(layers, states, strict=True):
        steps.append(PullStep(layer, "Downloading", 1, 29_000_000))
        steps.append(PullStep(layer, status, percent * 290_000, 29_000_000))
    stage.engine.pull_steps, stage.engine.pull_waits = steps, True
    page.presenter.pull("postgres:17")
    await stage.until(lambda: stage.window.tasks.cards)
    await asyncio.sleep(0.1)
    next(iter(stage.window.tasks.cards.values())).more.setChecked(True)


async def run_form(stage: Stage) -> None:
    """The form to run an image, with a mistake."""
    await images(stage)
    page = stage.desktop.images_page
    assert page is not None
    row = next(item for item in page.model.rows() if item.name == "nginx")
    page.table.select(row.id)
    page.ask_to_run()
    dialog = await stage.dialog()
    dialog.name.setText("shop-web")  # type: ignore[attr-defined]
    dialog.ports.setPlainText("8080:80\n84430:443")  # type: ignore[attr-defined]
    dialog.env.setPlainText("TZ=Europe/Berlin")  # type: ignore[attr-defined]
    dialog.volumes.setPlainText("site:/usr/share/nginx/html:ro")  # type: ignore[attr-defined]


async def pull_form(stage: Stage) -> None:
    """The question for an image's name."""
    await images(stage)
    assert stage.desktop.images_page is not None
    stage.desktop.images_page.ask_to_pull()
    await stage.dialog()


async def volumes(stage: Stage) -> None:
    """The Volumes page with sizes."""
    await stage.loaded()
    stage.window.go_to(2)
    page = stage.desktop.volumes_page
    assert page is not None
    await stage.until(lambda: any(row.size >= 0 for row in page.model.rows()))


async def volumes_delete(stage: Stage) -> None:
    """The question before volumes are deleted."""
    await volumes(stage)
    assert stage.desktop.volumes_page is not None
    stage.desktop.volumes_page.table.selectAll()
    stage.desktop.volumes_page.ask_to_remove()
    await stage.dialog()


async def networks(stage: Stage) -> None:
    """The Networks page."""
    await stage.loaded()
    stage.window.go_to(3)
    page = stage.desktop.networks_page
    assert page is not None
    await stage.until(page.model.rows)


async def networks_graph(stage: Stage) -> None:
    """The graph of networks."""
    await networks(stage)
    assert stage.desktop.networks_page is not None
    stage.desktop.networks_page.view.choose("graph")


async def networks_new(stage: Stage) -> None:
    """The form of a network, with a subnet that is taken."""
    await networks(stage)
    assert stage.desktop.networks_page is not None
    stage.desktop.networks_page.ask_to_create()
    dialog = await stage.dialog()
    dialog.name.setText("staging")  # type: ignore[attr-defined]
    dialog.subnet.setText("172.20.4.0/24")  # type: ignore[attr-defined]


def crowded() -> FakeEngine:
    """Return an engine with 200 containers on 20 networks."""
    items = [container(f"service-{number:03d}", ports=((9000 + number, 80),) if number % 9 == 0 else (), number=number)
             for number in range(200)]  # fmt: skip
    engine = FakeEngine(items)
    engine.have(networks=[network(f"team-{number:02d}", f"10.{number}.0.0/24") for number in range(20)])
    for number in range(200):
        on = {f"team-{number // 10:02d}": f"10.{number // 10}.0.{number % 10 + 2}"}
        if number % 7 == 0:
            other = (number // 10 + 1) % 20
            on[f"team-{other:02d}"] = f"10.{other}.0.{number % 10 + 40}"
        engine.place(f"service-{number:03d}", on)
    return engine


async def palette(stage: Stage) -> None:
    """The command palette."""
    await containers(stage)
    stage.desktop.show_palette()
    await asyncio.sleep(0.1)
    for widget in QApplication.topLevelWidgets():
        if isinstance(widget, Palette) and widget.isVisible():
            widget.field.setText("we")


async def notices(stage: Stage) -> None:
    """An error with its reason and way out, and a piece of news."""
    await containers(stage)
    stage.desktop.notify(
        Message(
            "Could not start seed", "Port 8080 on 0.0.0.0 is used by container web (77656200).",
            "Stop it or choose another port.",
        )
    )  # fmt: skip
    stage.desktop.notify(Message("Pulled redis:7-alpine", "Image is up to date for redis:7-alpine."), "info")


async def empty(stage: Stage) -> None:
    """An engine without a container."""
    await stage.loaded()


async def _without_engine(stage: Stage) -> None:
    picture = stage.desktop._picture
    assert picture is not None
    await stage.until(lambda: picture.connection.stage is not Phase.CONNECTING)


async def connecting(stage: Stage) -> None:
    """The first answer is waited for."""
    await asyncio.sleep(0.1)


async def starting(stage: Stage) -> None:
    """The engine is being started."""
    await _without_engine(stage)
    picture = stage.desktop._picture
    assert picture is not None
    picture.starting("systemd is starting it")


async def lost(stage: Stage) -> None:
    """The engine went away while the window was open."""
    await containers(stage)
    stage.engine.die(Unavailable("the connection to unix:///run/portside/engine.sock broke: connection reset by peer"))
    await stage.until(lambda: stage.window.engine_line.details.isVisible())


async def details(stage: Stage) -> None:
    """The exact error behind it."""
    await lost(stage)
    stage.desktop._details()
    await stage.dialog()


async def access(stage: Stage) -> None:
    """How to get access."""
    await _without_engine(stage)
    stage.desktop._help()
    await stage.dialog()


def many() -> FakeEngine:
    """Return an engine with 1,000 containers."""
    states = (("running", "Up 3 hours"), ("exited", "Exited (0) 2 hours ago"), ("running", "Up 4 minutes (healthy)"))
    items = [
        container(f"job-{number:04d}", f"{SHOP}/step-{number % 7}:{number % 13}.0", *states[number % 3], number=number,
                  ports=((20_000 + number, 80),) if number % 3 == 0 else (), age_s=number * 60)
        for number in range(1000)
    ]  # fmt: skip
    return FakeEngine(items, [image("nginx:1.27-alpine")])


def failing(failure: Exception) -> Callable[[], FakeEngine]:
    """Return an engine that answers with an error."""

    def make() -> FakeEngine:
        engine = FakeEngine()
        engine.failure = failure  # type: ignore[assignment]
        engine.installed = "not installed" not in str(failure)
        return engine

    return make


def hanging() -> FakeEngine:
    """Return an engine that takes the connection and says nothing."""
    engine = FakeEngine()
    engine.hangs = True
    return engine


def missing() -> FakeEngine:
    """Return a machine without an engine."""
    engine = FakeEngine()
    engine.failure, engine.installed = gone(), False
    return engine


BOTH = ("light", "dark")
PICTURES: tuple[tuple[str, Callable[[], FakeEngine], Play, tuple[str, ...], tuple[int, int]], ...] = (
    ("containers", everyday, containers, BOTH, (WIDTH, HEIGHT)),
    ("containers-small", everyday, containers, ("light",), SMALL),
    ("containers-selected", everyday, selection, ("dark",), (WIDTH, HEIGHT)),
    ("containers-delete", everyday, delete_question, BOTH, (WIDTH, HEIGHT)),
    ("containers-1000", many, empty, ("dark",), (WIDTH, HEIGHT)),
    ("containers-empty", FakeEngine, empty, ("light",), (WIDTH, HEIGHT)),
    ("container-logs", everyday, logs, BOTH, MIDDLE),
    ("container-stats", everyday, stats, BOTH, (WIDTH, HEIGHT)),
    ("container-terminal", everyday, terminal, BOTH, MIDDLE),
    ("container-processes", everyday, processes, ("dark",), MIDDLE),
    ("container-overview", everyday, overview, ("light",), (WIDTH, HEIGHT)),
    ("container-inspect", everyday, inspect, BOTH, (WIDTH, HEIGHT)),
    ("images", everyday, images, BOTH, (WIDTH, HEIGHT)),
    ("images-pull", everyday, pull, BOTH, (WIDTH, HEIGHT)),
    ("images-pull-form", everyday, pull_form, ("light",), (WIDTH, HEIGHT)),
    ("images-run", everyday, run_form, BOTH, (WIDTH, HEIGHT)),
    ("volumes", everyday, volumes, BOTH, (WIDTH, HEIGHT)),
    ("volumes-delete", everyday, volumes_delete, ("light",), (WIDTH, HEIGHT)),
    ("networks", everyday, networks, BOTH, (WIDTH, HEIGHT)),
    ("networks-graph", everyday, networks_graph, BOTH, (WIDTH, HEIGHT)),
    ("networks-graph-200", crowded, networks_graph, ("light",), (WIDTH, HEIGHT)),
    ("networks-new", everyday, networks_new, ("dark",), (WIDTH, HEIGHT)),
    ("palette", everyday, palette, BOTH, (WIDTH, HEIGHT)),
    ("notices", everyday, notices, BOTH, (WIDTH, HEIGHT)),
    ("engine-connecting", hanging, connecting, ("light",), SMALL),
    ("engine-not-installed", missing, _without_engine, ("light",), SMALL),
    ("engine-not-running", failing(gone()), _without_engine, ("dark",), SMALL),
    ("engine-starting", failing(gone()), starting, ("light",), SMALL),
    ("engine-not-answering", everyday, lost, ("light",), (WIDTH, HEIGHT)),
    ("engine-details", everyday, details, ("dark",), (WIDTH, HEIGHT)),
    ("engine-refused", failing(Forbidden("permission denied on /run/portside/engine.sock")), access, ("light",), SMALL),
)  # fmt: skip


def draw(stage: Stage) -> QImage:
    """Return the window with the dialog above it."""
    picture = stage.window.grab().toImage()
    for dialog in stage.window.findChildren(QDialog):
        if dialog.isVisible():
            painter = QPainter(picture)
            veil = stage.desktop.tokens.text if stage.desktop.tokens.name == "light" else "#000000"
            painter.setOpacity(0.25)
            painter.fillRect(picture.rect(), veil)
            painter.setOpacity(1.0)
            place = stage.window.rect().center() - dialog.rect().center()
            painter.drawPixmap(place, dialog.grab())
            painter.end()
    return picture


async def _draw_all(app: QApplication, folder: Path, wanted: list[str]) -> None:
    for name, make, play, themes, (width, height) in PICTURES:
        for theme in themes:
            if wanted and name not in wanted:
                continue
            stage = Stage(app, make(), "--theme", theme)
            stage.window.resize(width, height)
            await stage.open()
            await play(stage)
            await asyncio.sleep(0.15)
            target = folder / (f"{name}-dark.png" if theme == "dark" else f"{name}.png")
            reduced = draw(stage).convertToFormat(QImage.Format.Format_RGB888)
            if not reduced.save(str(target), quality=0):  # 0 is the strongest compression, without loss
                raise OSError(f"{target} could not be written")
            for dialog in stage.window.findChildren(QDialog):
                dialog.reject()
            await asyncio.sleep(0)
            await stage.close()
            sys.stdout.write(f"{target.name} {target.stat().st_size // 1024} KiB\n")


def main() -> int:
    """Draw the pictures; words after the folder name some of them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    app = QApplication(sys.argv[:1])
    loop = QEventLoop(app)
    asyncio.set_event_loop(loop)
    with loop:
        loop.run_until_complete(_draw_all(app, folder, sys.argv[2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
