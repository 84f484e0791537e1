"""Where logs are sent on to: what ``logforwarder`` must know of a container, and whether its receiver is there."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from engine.containers.logoptions import FORWARDED, log_attributes, log_tag, parse_facility, parse_syslog_address
from engine.containers.logsenders import JOURNAL, Syslog, Unsent
from engine.errors import Internal, InvalidArgument
from engine.model.record import ContainerRecord

_FAILED = "failed to create task for container: failed to initialize logging driver"


def check_receiver(record: ContainerRecord) -> None:
    """Raise Internal with moby's text when a container's syslog or journald cannot be reached now (blocking)."""
    config = record.host_config.log_config
    if config.type == "journald" and not Path(JOURNAL).exists():
        raise Internal(f"{_FAILED}: journald is not enabled on this host")
    if config.type != "syslog":
        return
    try:
        sender = Syslog(_syslog_task(record))
        sender.connect()
        sender.close()
    except (InvalidArgument, Unsent) as error:
        reason = error.message if isinstance(error, InvalidArgument) else str(error)
        raise Internal(f"{_FAILED}: {reason}") from error


def receiver_task(record: ContainerRecord) -> dict[str, Any] | None:
    """Return a container's task without its log, None when nothing is sent on.

    Raises InvalidArgument when the socket that it names has gone.
    """
    kind = record.host_config.log_config.type
    if kind not in FORWARDED:
        return None
    return _syslog_task(record) if kind == "syslog" else _journal_task(record)


def _syslog_task(record: ContainerRecord) -> dict[str, Any]:
    options = record.host_config.log_config.config or {}
    protocol, address = parse_syslog_address(options.get("syslog-address", ""))
    return {
        "kind": "syslog",
        "protocol": protocol,
        "address": address,
        "facility": parse_facility(options.get("syslog-facility", "")),
        "format": options.get("syslog-format", ""),
        "tag": log_tag(record),
        "ca": options.get("syslog-tls-ca-cert", ""),
        "cert": options.get("syslog-tls-cert", ""),
        "key": options.get("syslog-tls-key", ""),
        "skip_verify": "syslog-tls-skip-verify" in options,
    }


def journal_field(name: str) -> str:
    """Return a name as journald takes it: capitals, digits and underscores, none of these in front."""
    letters = [letter.upper() if letter.isascii() and letter.isalnum() else "_" for letter in name]
    return "".join(letters).lstrip("_")


def _journal_task(record: ContainerRecord) -> dict[str, Any]:
    extra = {journal_field(name): value for name, value in log_attributes(record).items() if name != "tag"}
    tag = log_tag(record)
    fields = {
        "CONTAINER_ID": record.id[:12],
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_NAME": record.name,
        "CONTAINER_TAG": tag,
        "IMAGE_NAME": record.config.image,
        "SYSLOG_IDENTIFIER": tag,
        "CONTAINER_LOG_EPOCH": secrets.token_hex(32),
    }
    return {"kind": "journald", "fields": {**fields, **{name: value for name, value in extra.items() if name}}}
