"""Log drivers and their options: which there are, and what their values mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidArgument, NotSupported
from engine.model.container import LogConfig
from engine.model.record import ContainerRecord

FORWARDED = frozenset({"syslog", "journald"})
DRIVERS = frozenset({"json-file", "local", "none"}) | FORWARDED
_ATTRIBUTES = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_OPTIONS = {
    "json-file": frozenset({"max-file", "max-size", "compress"}) | _ATTRIBUTES,
    "local": frozenset({"max-file", "max-size", "compress"}),
    "journald": _ATTRIBUTES,
    "syslog": _ATTRIBUTES
    | {
        *("syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert", "syslog-tls-cert"),
        *("syslog-tls-key", "syslog-tls-skip-verify"),
    },
}
_COMMON = frozenset({"mode", "max-buffer-size", "cache-disabled", "cache-max-file", "cache-max-size", "cache-compress"})
_FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"),
)
_MAX_PORT = 65535
_WITH_OLD_FILES = 2
_SYSLOG_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
SYSLOG_PORT = 514
LOCAL_MAX_BYTES = 20 * 1024 * 1024
LOCAL_MAX_FILES = 5
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
    disabled = options.get("cache-disabled", "")
    if disabled and disabled not in _TRUE | _FALSE:
        raise InvalidArgument(f"invalid value for option cache-disabled: {disabled}")
    for name in options:
        if name not in _OPTIONS[driver] | _COMMON:
            owner = f"log driver {driver}" if driver == "local" else f"{driver} log driver"
            raise InvalidArgument(f"unknown log opt '{name}' for {owner}")
    if "max-size" in options and parse_size(options["max-size"]) <= 0:
        raise InvalidArgument("max-size must be a positive number")
    if driver == "syslog":
        parse_syslog_address(options.get("syslog-address", ""))
        parse_facility(options.get("syslog-facility", ""))
        if options.get("syslog-format", "") not in _SYSLOG_FORMATS:
            raise InvalidArgument("Invalid syslog format")
    rotation_of(driver, options)
    _check_patterns(options)


def parse_syslog_address(address: str) -> tuple[str, str]:
    """Return protocol and address of a syslog: a path, or host:port; both empty for the host's own.

    Raises InvalidArgument with moby's texts; the path of a socket must exist.
    """
    if not address:
        return "", ""
    protocol, found, rest = address.partition("://")
    if not found:
        protocol, rest = "", address
    if protocol in ("unix", "unixgram"):
        if not Path(rest).exists():
            raise InvalidArgument(f"stat {rest}: no such file or directory")
        return protocol, rest
    if protocol not in ("udp", "tcp", "tcp+tls"):
        raise InvalidArgument(f"unsupported scheme: '{protocol}'")
    host = rest.partition("/")[0]
    name, _, port = host.rpartition(":") if host.rpartition("]")[2].startswith(":") or "]" not in host else ("", "", "")
    if not name:
        return protocol, f"{host}:{SYSLOG_PORT}"
    if not port.isascii() or not port.isdigit() or int(port) > _MAX_PORT:
        raise InvalidArgument(f'parse "{address}": invalid port ":{port}" after host')
    return protocol, host


def parse_facility(name: str) -> int:
    """Return a facility as it stands in a priority; raises InvalidArgument with moby's text."""
    if name.isascii() and name.isdigit() and int(name[:4]) < len(_FACILITIES):
        return int(name) << 3
    if name and name in _FACILITIES:
        return _FACILITIES.index(name) << 3
    if name:
        raise InvalidArgument("invalid syslog facility")
    return _FACILITIES.index("daemon") << 3


@dataclass(frozen=True)
class Rotation:
    """When a log is cut: its largest size in bytes, how many files there are, and whether old ones are compressed."""

    max_bytes: int
    max_files: int
    compress: bool


def rotation_of(driver: str, options: Mapping[str, str]) -> Rotation | None:
    """Return how a driver's file is rotated, None when it grows without limit.

    What is sent on to a syslog or to journald is kept in a file too, from which it is read, as Docker does it.
    Raises InvalidArgument with moby's texts.
    """
    if driver == "none":
        return None
    if driver == "json-file":
        return _rotation(options, "", size=0, count=1, compress=False)
    prefix = "cache-" if driver in FORWARDED else ""
    return _rotation(options, prefix, size=LOCAL_MAX_BYTES, count=LOCAL_MAX_FILES, compress=True)


def _rotation(options: Mapping[str, str], prefix: str, *, size: int, count: int, compress: bool) -> Rotation | None:
    if options.get(f"{prefix}max-size"):
        size = parse_size(options[f"{prefix}max-size"])
    text = options.get(f"{prefix}max-file", str(count))
    if not re.fullmatch(r"[+-]?\d{1,9}", text):
        raise InvalidArgument(f'strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 1:
        raise InvalidArgument("max-file cannot be less than 1")
    asked = options.get(f"{prefix}compress", "")
    compress = _boolean(asked) if asked else compress and int(text) > 1
    if compress and (int(text) < _WITH_OLD_FILES or size <= 0):
        raise InvalidArgument("compress cannot be true when max-file is less than 2 or max-size is not set")
    return Rotation(size, int(text), compress) if size > 0 else None


def is_readable(log: LogConfig) -> bool:
    """Whether ``docker logs`` can be had of a container's log."""
    disabled = (log.config or {}).get("cache-disabled", "")
    return log.type != "none" and not (log.type in FORWARDED and disabled in _TRUE)


def _boolean(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise InvalidArgument(f'strconv.ParseBool: parsing "{text}": invalid syntax')
    return text in _TRUE


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
    if options.get("tag"):
        found["tag"] = log_tag(record)
    return found


def log_tag(record: ContainerRecord) -> str:
    """Return a container's tag, its short ID when its options name none."""
    template = (record.host_config.log_config.config or {}).get("tag") or "{{.ID}}"
    return _TAG_FIELD.sub(lambda match: _TAG_FIELDS[match[1].strip()](record), template)


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
