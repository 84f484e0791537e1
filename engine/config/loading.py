"""Flags and file together: the one way to an EngineConfig."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from engine.config.file import read_file
from engine.config.settings import DEFAULT_CONFIG_FILE, LOG_LEVELS, ConfigError, EngineConfig
from engine.config.values import KEYS
from engine.containers.logoptions import check_log_options
from engine.errors import PortsideError
from engine.runtime.usernamespaces import read_map

_FLAGS: tuple[tuple[str, str, str], ...] = (
    ("--host", "hosts", "where to listen, repeatable"),
    ("--group", "group", "group that may use the socket"),
    ("--data-root", "data-root", "where images, containers and volumes lie"),
    ("--exec-root", "exec-root", "where what goes with a boot lies"),
    ("--pidfile", "pidfile", "file for the engine's process ID"),
    ("--log-level", "log-level", ", ".join(LOG_LEVELS)),
    ("--tlscacert", "tlscacert", "CA that clients' certificates are signed by"),
    ("--tlscert", "tlscert", "certificate"),
    ("--tlskey", "tlskey", "key of the certificate"),
    ("--registry-mirror", "registry-mirrors", "mirror of docker.io, repeatable"),
    ("--insecure-registry", "insecure-registries", "registry without (valid) TLS, repeatable"),
    ("--bip", "bip", "address and prefix length of the default bridge"),
    ("--default-address-pool", "default-address-pools", "base=CIDR,size=N, repeatable"),
    ("--userns-remap", "userns-remap", "user (and group) whose ranges in /etc/subuid and /etc/subgid containers get"),
    ("--runtime", "default-runtime", "OCI runtime: auto, crun or runc"),
)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"portsided: {message}")


def _parser() -> _Parser:
    parser = _Parser(prog="portsided", description="Portside's engine", allow_abbrev=False)
    for flag, key, text in _FLAGS:
        names = [flag, "-H"] if flag == "--host" else [flag]
        repeatable = key in ("hosts", "registry-mirrors", "insecure-registries", "default-address-pools")
        parser.add_argument(*names, dest=key, action="append" if repeatable else "store", help=text, default=None)
    parser.add_argument("--config-file", type=Path, default=None, help=f"settings (default {DEFAULT_CONFIG_FILE})")
    parser.add_argument("--tlsverify", action="store_true", help="serve TCP with TLS and clients' certificates")
    parser.add_argument("--debug", "-D", action="store_true", help="log everything")
    parser.add_argument("--validate", action="store_true", help="check the settings and end")
    return parser


@dataclass(frozen=True)
class CommandLine:
    """What was asked for on the command line."""

    config: EngineConfig
    config_file: Path
    validate: bool
    arguments: tuple[str, ...]


def load(arguments: list[str]) -> CommandLine:
    """Return the settings of flags and file together.

    Raises ConfigError, which names the place. ``--help`` raises SystemExit as argparse does.
    """
    given = vars(_parser().parse_args(arguments))
    path: Path | None = given.pop("config_file")
    validate = given.pop("validate")
    flags = {key: value for key, value in given.items() if value not in (None, False)}
    source = path or DEFAULT_CONFIG_FILE
    read = read_file(source, required=path is not None)
    both = sorted(set(flags) & set(read))
    if both:
        told = ", ".join(f"{key}: (from flag: {_go(flags[key])}, from file: {_go(read[key][0])})" for key in both)
        raise ConfigError(
            "the following directives are specified both as a flag and in the configuration file: " + told
        )
    names = {key: flag for flag, key, _ in _FLAGS}
    values = {key: (value, f"flag {names.get(key, f'--{key}')}") for key, value in flags.items()} | read
    settings: dict[str, Any] = {}
    for key, (value, place) in values.items():
        name, reader = KEYS[key]
        try:
            converted = reader(value)
        except ValueError as error:
            raise ConfigError(f"{place}: {key} is {json.dumps(value, default=str)}: {error}") from error
        if name:
            settings[name] = converted
    verify = bool(values.get("tlsverify", (False, ""))[0])
    config = replace(EngineConfig(), **settings)
    _check_together(config, verify=verify)
    return CommandLine(config, source, validate, tuple(arguments))


def _go(value: object) -> str:
    """Return a value as Go's %v prints it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + " ".join(_go(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)


def _check_together(config: EngineConfig, *, verify: bool) -> None:
    files = (config.tls_ca, config.tls_cert, config.tls_key)
    if any(host.startswith("tcp://") for host in config.hosts):
        if not verify or not all(files):
            raise ConfigError(
                "a tcp:// host gives root on this machine to whoever reaches it: "
                "it needs --tlsverify with --tlscacert, --tlscert and --tlskey"
            )
        for path in files:
            if path is not None and not path.is_file():
                raise ConfigError(f"{path}: no such file")
    if config.runtime not in ("auto", "crun", "runc", *config.runtimes):
        raise ConfigError(f"runtime {config.runtime} is neither auto, crun or runc nor one of the runtimes configured")


def check_files(config: EngineConfig) -> None:
    """Check the log options, and that files and programs named are there; raises ConfigError (reads the disk)."""
    try:
        check_log_options(config.log_driver, config.log_options)
    except PortsideError as error:
        raise ConfigError(f"log-opts: {error.message}") from error
    for name, setting in config.runtimes.items():
        if shutil.which(setting.path) is None:
            raise ConfigError(f"runtimes: {name}: {setting.path} is not there or cannot be run")
    if config.init_path is not None and not os.access(config.init_path, os.X_OK):
        raise ConfigError(f"init-path: {config.init_path} is not there or cannot be run")
    if config.userns_remap.partition(":")[0] not in ("", "default"):  # the engine makes the default's user
        try:
            read_map(config.userns_remap)
        except PortsideError as error:
            raise ConfigError(f"userns-remap: {error.message}", hint=error.hint) from error
    if config.seccomp_profile is not None:
        try:
            profile = json.loads(config.seccomp_profile.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"seccomp-profile: {config.seccomp_profile}: {error}") from error
        if not isinstance(profile, dict) or "defaultAction" not in profile:
            raise ConfigError(f"seccomp-profile: {config.seccomp_profile}: an object with defaultAction is expected")
