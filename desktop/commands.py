"""What the command palette offers: pages, actions and every object, put together when it is opened."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from desktop.pages.containers.page import ContainersPage
from desktop.pages.images.page import ImagesPage
from desktop.pages.networks.page import NetworksPage
from desktop.pages.volumes.page import VolumesPage
from desktop.state.matching import Command
from desktop.state.picture import Picture

_ICONS = {"Containers": "containers", "Images": "images", "Volumes": "volumes", "Networks": "networks"}


def commands(
    picture: Picture,
    go_to: Callable[[int], None],
    containers: ContainersPage,
    images: ImagesPage,
    volumes: VolumesPage,
    networks: NetworksPage,
) -> list[Command]:
    """Return the commands that are possible now; ``go_to`` shows a page by its place."""
    found = [
        Command(f"Go to {title}", f"Ctrl+{place + 1}", partial(go_to, place), icon)
        for place, (title, icon) in enumerate(_ICONS.items())
    ]
    if not picture.is_loaded:
        return found

    def on(place: int, do: Callable[[], object]) -> Callable[[], None]:
        def go() -> None:
            go_to(place)
            do()

        return go

    found += [
        Command("Pull an image", "Images", on(1, images.ask_to_pull), "pull"),
        Command("New volume", "Volumes", on(2, volumes.ask_to_create), "volumes"),
        Command("New network", "Networks", on(3, networks.ask_to_create), "networks"),
        Command("Show the graph of networks", "Networks", on(3, lambda: networks.view.choose("graph")), "networks"),
        Command("Delete unused volumes", "Volumes", on(2, volumes.ask_to_prune), "broom"),
        Command("Delete unused networks", "Networks", on(3, networks.ask_to_prune), "broom"),
    ]
    presenter = containers.presenter
    for row in presenter.rows():
        found.append(
            Command(
                row.name, f"container, {row.told_state}", on(0, partial(containers.show_detail, row.id)), "containers"
            )
        )
        shell = partial(containers.show_terminal, row.id)
        if row.is_running:
            found.append(Command(f"Shell in {row.name}", "container", on(0, shell), "terminal"))
            found.append(Command(f"Stop {row.name}", "container", partial(presenter.stop, [row.id]), "stop"))
            found.append(Command(f"Restart {row.name}", "container", partial(presenter.restart, [row.id]), "restart"))
        else:
            found.append(Command(f"Start {row.name}", "container", partial(presenter.start, [row.id]), "play"))
    for image in images.presenter.rows():
        if not image.is_dangling:
            found.append(Command(f"Run {image.reference}", "image", on(1, partial(images.run_image, image)), "play"))
    for volume in volumes.presenter.rows():
        found.append(Command(volume.short_name, "volume", on(2, partial(volumes.show_inspect, volume.name)), "volumes"))
    for network in networks.presenter.rows():
        found.append(Command(network.name, "network", on(3, partial(networks.show_inspect, network.id)), "networks"))
    return found
