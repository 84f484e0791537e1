"""Log drivers and their options: which there are, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Callable

from engine.errors import InvalidArgument, NotSupported
from engine.model.container import LogConfig
from engine.model.record import ContainerRecord

DRIVERS = frozenset({"json-file", "local", "none"})
_OPTIONS = {
    "json-file": frozenset(
        {"max-file", "max-size", "compress", "labels", "labels-regex", "env", "env-regex", "tag", "cache-disabled"}
    ),
    "local": frozenset({"max-file", "max-size", "compress"}),
}
_COMMON = frozenset({"mode", "max-buffer-size"})
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(i?b)?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def parse_size(text: str, *, base: int = 1000) -> int:
    """Return bytes from ``10m`` or ``1.5 GiB``; ``base`` is 1000 or 1024. Raises InvalidArgument with moby's text."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidArgument(f"invalid size: '{text}'")
    return int(float(match[1]) * float(base ** _POWERS[match[2].lower()]))


def settle_log_config(asked: LogConfig, default: LogConfig) -> LogConfig:
    """Return the log configuration of a container: the engine's default where it names no driver, checked.

    Raises InvalidArgument with moby's text for an unknown driver or option or a bad value.
    """
    driver = asked.type or default.type
    options = dict(asked.config or {})
    if driver == default.type:
        options = {**(default.config or {}), **options}
    check_log_options(driver, options)
    return LogConfig(type=driver, config=options)


def check_log_options(driver: str, options: dict[str, str]) -> None:
    """Raise InvalidArgument or NotSupported unless ``options`` can be had of ``driver``."""
    if driver == "none":
        return
    if driver not in DRIVERS:
        raise InvalidArgument(f"logger: no log driver named '{driver}' is registered")
    _check_mode(options)
    for name in options:
        if name not in _OPTIONS[driver] | _COMMON:
            owner = "json-file log driver" if driver == "json-file" else f"log driver {driver}"
            raise InvalidArgument(f"unknown log opt '{name}' for {owner}")
    if "max-size" in options and parse_size(options["max-size"]) <= 0:
        raise InvalidArgument("max-size must be a positive number")
    _check_files(options)
    _check_patterns(options)


def _check_patterns(options: dict[str, str]) -> None:
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(options.get(name, ""))
        except re.error as error:
            raise InvalidArgument(f"error parsing log-opt {name}: {error}") from error
    for field in _TAG_FIELD.findall(options.get("tag", "")):
        if field.strip() not in _TAG_FIELDS:
            raise NotSupported(
                f"log-opt tag: the template {{{{{field}}}}} is not supported",
                hint=f"fields are {' '.join(sorted(_TAG_FIELDS))}",
            )


def log_attributes(record: ContainerRecord) -> dict[str, str]:
    """Return the labels, variables and tag that a container's log options name, for ``logs --details``."""
    options = record.host_config.log_config.config or {}
    variables = dict(item.partition("=")[::2] for item in record.config.env or [])
    found: dict[str, str] = {}
    for kind, values in (("labels", record.config.labels or {}), ("env", variables)):
        wanted = options.get(kind, "").split(",")
        pattern = options.get(f"{kind}-regex", "")
        found |= {
            name: value for name, value in values.items() if name in wanted or (pattern and re.search(pattern, name))
        }
    tag = options.get("tag", "")
    if tag:
        found["tag"] = _TAG_FIELD.sub(lambda match: _TAG_FIELDS[match[1].strip()](record), tag)
    return found


_TAG_FIELD = re.compile(r"\{\{(.*?)\}\}")
_TAG_FIELDS: dict[str, Callable[[ContainerRecord], str]] = {
    ".ID": lambda record: record.id[:12],
    ".FullID": lambda record: record.id,
    ".Name": lambda record: record.name,
    ".ImageID": lambda record: record.image_id.removeprefix("sha256:")[:12],
    ".ImageFullID": lambda record: record.image_id,
    ".ImageName": lambda record: record.config.image,
    ".Command": lambda record: " ".join([record.path, *record.args]),
    ".DaemonName": lambda _: "docker",
}


def _check_mode(options: dict[str, str]) -> None:
    # The log is written by conmon to a local file, which no reader can hold up: both modes are the same.
    mode = options.get("mode", "")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidArgument(f"logger: logging mode not supported: {mode}")
    if "max-buffer-size" in options:
        if mode != "non-blocking":
            raise InvalidArgument("logger: max-buffer-size option is only supported with 'mode=non-blocking'")
        parse_size(options["max-buffer-size"])


def _check_files(options: dict[str, str]) -> None:
    count = options.get("max-file", "1")
    if not re.fullmatch(r"[+-]?\d{1,9}", count):
        raise InvalidArgument(f'strconv.Atoi: parsing "{count}": invalid syntax')
    if int(count) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    compress = options.get("compress", "false")
    if compress not in _TRUE | _FALSE:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{compress}": invalid syntax')
    if compress in _TRUE:
        if int(count) < 2 or "max-size" not in options:
            raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
        raise NotSupported("log-opt compress=true is not supported", hint="leave compress out: rotated logs stay plain")
