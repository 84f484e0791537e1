"""A container's configuration and its image's become one, as moby merges them."""

from __future__ import annotations

from msgspec import UNSET

from engine.errors import InvalidArgument
from engine.model.base import given
from engine.model.container import ContainerConfig, HealthConfig
from engine.model.image import ImageConfig

_HEALTH_NUMBERS = ("interval", "timeout", "start_period", "start_interval", "retries")


def merge_image_config(config: ContainerConfig, image: ImageConfig) -> None:
    """Fill in what ``config`` leaves open; ``image`` is shared and stays as it is."""
    config.user = config.user or given(image.user, "")
    config.working_dir = config.working_dir or given(image.working_dir, "")
    if not given(config.stop_signal, "") and given(image.stop_signal, ""):
        config.stop_signal = image.stop_signal
    ports = given(image.exposed_ports, {}) | given(config.exposed_ports, {})
    if ports:
        config.exposed_ports = ports
    _merge_environment(config, given(image.env, []))
    config.labels = given(image.labels, {}) | (config.labels or {})
    _merge_command(config, image)
    if image.healthcheck:
        config.healthcheck = _merge_health(given(config.healthcheck, HealthConfig()), image.healthcheck)
    volumes = (config.volumes or {}) | given(image.volumes, {})
    config.volumes = volumes or None
    if not given(config.shell, []) and given(image.shell, []):
        config.shell = list(given(image.shell, []))
    if given(image.on_build, []):
        config.on_build = None  # triggers are for images built on this one


def _merge_environment(config: ContainerConfig, image_env: list[str]) -> None:
    own = list(config.env or [])
    names = {item.partition("=")[0] for item in own}
    own += [item for item in image_env if item.partition("=")[0] not in names]
    config.env = own if own or config.env is not None else None


def _merge_command(config: ContainerConfig, image: ImageConfig) -> None:
    # An entrypoint of its own also drops the image's command; an empty list only drops its entrypoint.
    if config.entrypoint:
        return
    if not config.cmd:
        config.cmd = list(given(image.cmd, [])) or config.cmd
    if config.entrypoint is None:
        config.entrypoint = list(given(image.entrypoint, [])) or None


def _merge_health(own: HealthConfig, image: HealthConfig) -> HealthConfig:
    merged = HealthConfig(test=list(given(own.test, [])) or list(given(image.test, [])))
    for name in _HEALTH_NUMBERS:
        value = given(getattr(own, name), 0) or given(getattr(image, name), 0)
        setattr(merged, name, value or UNSET)
    return merged


def settle_command(config: ContainerConfig) -> tuple[str, list[str]]:
    """Return the program and its arguments; raises InvalidArgument when there is no command.

    An entrypoint of one empty word means none (``--entrypoint ""``).
    """
    if config.entrypoint == [""]:
        config.entrypoint = None
    words = [*(config.entrypoint or []), *(config.cmd or [])]
    if not words:
        raise InvalidArgument("no command specified")
    return words[0], words[1:]
