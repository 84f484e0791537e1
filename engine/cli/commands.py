"""The tree of commands: which module has each, its summary and its short form.

A table, so that ``portside ps`` imports no other command. ``main.py`` looks words up here; each module has a
dictionary ``COMMANDS`` by full path.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One command. ``shortcut`` is its top-level word; ``rank`` orders the common ones of the top help."""

    module: str
    summary: str
    shortcut: str = ""
    rank: int = 0


GROUPS = {
    "builder": "Manage builds and their cache",
    "container": "Manage containers",
    "image": "Manage images",
    "network": "Manage networks",
    "system": "Manage Portside",
    "volume": "Manage volumes",
}

COMMANDS: dict[str, Entry] = {
    "builder history": Entry("build", "List the builds of the past"),
    "builder logs": Entry("build", "Show what a build has written"),
    "builder prune": Entry("build", "Remove build cache"),
    "container attach": Entry("container_streams", "Connect to a running container's input and output", "attach"),
    "container commit": Entry("commit", "Make an image of what a container has changed", "commit"),
    "container cp": Entry("copy", "Copy files and folders between a container and here", "cp"),
    "container create": Entry("container_run", "Make a container without starting it", "create"),
    "container diff": Entry("commit", "Show what a container has changed of its image's files", "diff"),
    "container exec": Entry("container_streams", "Run a command in a running container", "exec", 2),
    "container export": Entry("commit", "Write a container's file system into an archive", "export"),
    "container inspect": Entry("inspect", "Show everything about containers"),
    "container kill": Entry("container_life", "Send a signal to running containers, KILL by default", "kill"),
    "container logs": Entry("container_streams", "Show what a container has written", "logs"),
    "container ls": Entry("container_list", "List containers", "ps", 3),
    "container pause": Entry("container_life", "Freeze all processes of containers", "pause"),
    "container port": Entry("container_list", "Show a container's published ports", "port"),
    "container prune": Entry("container_life", "Remove all stopped containers"),
    "container rename": Entry("container_life", "Give a container another name", "rename"),
    "container restart": Entry("container_life", "Stop and start containers", "restart"),
    "container rm": Entry("container_life", "Remove containers", "rm"),
    "container run": Entry("container_run", "Make a container from an image and start it", "run", 1),
    "container start": Entry("container_streams", "Start stopped containers", "start"),
    "container stats": Entry("container_stats", "Show what containers use, live", "stats"),
    "container stop": Entry("container_life", "Stop running containers", "stop"),
    "container top": Entry("container_list", "Show a container's processes", "top"),
    "container unpause": Entry("container_life", "Let frozen containers go on", "unpause"),
    "container update": Entry("container_update", "Change limits and restart policy of containers", "update"),
    "container wait": Entry("container_life", "Wait for containers to stop and print their exit codes", "wait"),
    "image build": Entry("build", "Build an image from a Dockerfile", "build", 4),
    "image history": Entry("image_list", "Show the steps that made an image", "history"),
    "image import": Entry("image_archive", "Make an image from a root file system's archive", "import"),
    "image inspect": Entry("inspect", "Show everything about images"),
    "image load": Entry("image_archive", "Load images from an archive or standard input", "load"),
    "image ls": Entry("image_list", "List images", "images", 6),
    "image prune": Entry("image_change", "Remove unused images"),
    "image pull": Entry("image_change", "Download an image from a registry", "pull", 4),
    "image push": Entry("image_change", "Upload an image to a registry", "push", 5),
    "image rm": Entry("image_change", "Remove images", "rmi"),
    "image save": Entry("image_archive", "Write images into an archive or to standard output", "save"),
    "image tag": Entry("image_change", "Give an image a further name", "tag"),
    "network connect": Entry("network_change", "Connect a container to a network"),
    "network create": Entry("network_change", "Make a network"),
    "network disconnect": Entry("network_change", "Take a container off a network"),
    "network inspect": Entry("inspect", "Show everything about networks"),
    "network ls": Entry("network", "List networks"),
    "network prune": Entry("network_change", "Remove all unused networks"),
    "network rm": Entry("network_change", "Remove networks"),
    "system df": Entry("system_df", "Show how much disk Portside uses"),
    "system events": Entry("system", "Follow what happens in the engine", "events"),
    "system info": Entry("system_info", "Show what the engine says of itself and its host", "info", 11),
    "system prune": Entry("system_prune", "Remove everything unused"),
    "volume create": Entry("volume", "Make a volume"),
    "volume inspect": Entry("inspect", "Show everything about volumes"),
    "volume ls": Entry("volume", "List volumes"),
    "volume prune": Entry("volume", "Remove unused volumes"),
    "volume rm": Entry("volume", "Remove volumes"),
    "volume update": Entry("volume", "Change a volume of a swarm (cluster volumes only)"),
    "completion": Entry("completion", "Print the completion script for a shell"),
    "inspect": Entry("inspect", "Show everything about containers, images, networks or volumes"),
    "login": Entry("login", "Log in to a registry", rank=7),
    "logout": Entry("login", "Log out from a registry", rank=8),
    "search": Entry("search", "Search Docker Hub or another registry for images", rank=9),
    "version": Entry("system_info", "Show the versions of client and engine", rank=10),
}

SUB_ALIASES = {
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "builder build": "image build",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}

SHORTCUTS = {entry.shortcut: path for path, entry in COMMANDS.items() if entry.shortcut}

LATER = frozenset(
    (
        "buildx", "checkpoint", "compose", "config", "context",
        "manifest", "node", "plugin", "secret", "service", "stack", "swarm", "trust",
    )
)  # fmt: skip
"""Docker's commands that Portside does not have yet: they say so instead of being unknown."""

LATER_IN_GROUPS = {
    "container": (),
    "builder": (),
    "image": (),
    "network": (),
    "system": ("dial-stdio",),
    "volume": (),
}
