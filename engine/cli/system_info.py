"""``version`` and ``info``."""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any

import msgspec

from engine import __version__
from engine.cli.command import Command
from engine.cli.failures import CommandError, hint_of, sentence
from engine.cli.flags import Flag, Parsed
from engine.cli.quantities import human_size_binary
from engine.cli.references import DOCKER_HUB_KEY
from engine.cli.table import align
from engine.cli.template_parse import TemplateError
from engine.cli.template_run import GoStruct, OpenMap, Template
from engine.cli.typed_json import typed
from engine.client.connection import MAX_API_VERSION
from engine.errors import PortsideError
from engine.model.system import ComponentVersion, SystemVersion

if TYPE_CHECKING:
    from engine.cli.session import Session

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
OWN_API_VERSION = f"{MAX_API_VERSION[0]}.{MAX_API_VERSION[1]}"


def client_version(api_version: str) -> dict[str, Any]:
    """Return what this client is."""
    return {
        "Version": __version__,
        "ApiVersion": api_version or OWN_API_VERSION,
        "DefaultAPIVersion": OWN_API_VERSION,
        "GoVersion": f"python{platform.python_version()}",
        "Os": "linux",
        "Arch": _MACHINES.get(platform.machine(), platform.machine()),
        "Context": "default",
    }


def _template(source: str, name: str = "") -> Template:
    try:
        return Template("{{json .}}" if source == "json" else source, name)
    except TemplateError as error:
        raise CommandError(f"template parsing error: {error}", 64) from error


async def run_version(session: Session, parsed: Parsed) -> int:
    """Show the versions of client and engine; the client's also when no engine answers."""
    template = _template(parsed.text("format"), "version") if parsed.text("format") else None
    server: SystemVersion | None = None
    failure: PortsideError | None = None
    try:
        server = await session.client.system.version()
    except PortsideError as error:
        failure = error
    client = client_version(session.client.api_version)
    if server is not None:
        _add_engine(server)
    message = ""
    if template is None:
        session.console.out(align(_version_text(client, server), 20, 1) + "\n")
    else:
        own = GoStruct(
            client, "system.clientVersion", {"APIVersion": client["ApiVersion"], "GitCommit": "", "BuildTime": ""}
        )
        engine = None if server is None else typed(msgspec.to_builtins(server), SystemVersion, "types.Version")
        if engine is not None:
            engine.zeros["APIVersion"] = engine["ApiVersion"]
        try:
            text = template.render(GoStruct({"Client": own, "Server": engine}, "system.versionInfo"))
        except TemplateError as error:
            text, message = "", str(error)
        session.out(text)
    if failure is not None:
        raise CommandError(sentence(failure), hint=hint_of(failure))
    if message:
        raise CommandError(message)
    return 0


def _add_engine(server: SystemVersion) -> None:
    """Add the engine to its components when it does not name itself, as podman does not."""
    if any(component.name == "Engine" for component in server.components):
        return
    details = {
        "ApiVersion": server.api_version,
        "MinAPIVersion": server.min_api_version,
        "Os": server.os,
        "Arch": server.arch,
        "Experimental": str(server.experimental is True).lower(),
    }
    server.components.append(ComponentVersion(name="Engine", version=server.version, details=details))


def _version_text(client: dict[str, Any], server: SystemVersion | None) -> str:
    spoken, own = client["ApiVersion"], client["DefaultAPIVersion"]
    downgraded = f" (downgraded from {own})" if spoken != own else ""
    lines = [
        "Client: Portside",
        f" Version:\t{client['Version']}",
        f" API version:\t{spoken}{downgraded}",
        f" Python version:\t{platform.python_version()}",
        f" OS/Arch:\t{client['Os']}/{client['Arch']}",
        f" Context:\t{client['Context']}",
    ]
    if server is None:
        return "\n".join(lines)
    lines += ["", f"Server:{' ' + server.platform.name if server.platform.name else ''}"]
    for component in server.components:
        details = component.details if isinstance(component.details, dict) else {}
        lines.append(f" {component.name}:")
        lines.append(f"  Version:\t{component.version}")
        if component.name == "Engine":
            lowest = details.get("MinAPIVersion", "")
            lines.append(f"  API version:\t{details.get('ApiVersion', '')} (minimum version {lowest})")
            for title, key in (("Go version", "GoVersion"), ("Git commit", "GitCommit"), ("Built", "BuildTime")):
                if details.get(key):
                    lines.append(f"  {title}:\t{details[key]}")
            lines.append(f"  OS/Arch:\t{details.get('Os', '')}/{details.get('Arch', '')}")
            lines.append(f"  Experimental:\t{details.get('Experimental', 'false')}")
        else:
            lines += [f"  {key}:\t{details[key]}" for key in sorted(details)]
    return "\n".join(lines)


async def run_info(session: Session, parsed: Parsed) -> int:
    """Show what the engine says of itself and its host."""
    source = parsed.text("format")
    client: dict[str, Any] = {**client_version(""), "Debug": session.is_debug, "Plugins": [], "Warnings": None}
    template = _template(source) if source else None
    info: dict[str, Any] | None = None
    failure: PortsideError | None = None
    if template is None or _needs_engine(source):
        try:
            info = await session.client.system.info()
        except PortsideError as error:
            failure = error
    if template is None:
        session.console.out(f"Client: Portside\n Version:    {__version__}\n Context:    default\n")
        session.console.out(f" Debug Mode: {str(session.is_debug).lower()}\n\nServer:\n")
        if info is not None:
            session.console.out("".join(f"{line}\n" for line in _info_lines(info, _user_name(session))) + "\n")
            for warning in info.get("Warnings") or ():
                session.err(str(warning))
    else:
        value = OpenMap({**(info or {}), "ClientInfo": OpenMap(client)})
        try:
            session.out(template.render(GoStruct(value, "system.dockerInfo")))
        except TemplateError as error:
            session.out("")
            raise CommandError(str(error)) from error
    if failure is not None:
        raise CommandError(sentence(failure), hint=hint_of(failure))
    return 0


def _needs_engine(source: str) -> bool:
    """Whether a format uses anything but the client's own part."""
    if source in ("json", "{{json .}}"):
        return True
    fields = re.findall(r"(?<![\w.)])\.([A-Za-z]\w*)", source)
    return not fields or any(not field.startswith("Client") for field in fields)


def _user_name(session: Session) -> str:
    """Return who is logged in to Docker Hub by the file alone: no helper is asked for this."""
    try:
        if session.config.helper_for(DOCKER_HUB_KEY):
            return ""
        credentials = session.config.credentials(DOCKER_HUB_KEY)
    except CommandError:
        return ""
    return credentials.username if credentials is not None else ""


def _info_lines(info: dict[str, Any], user: str) -> list[str]:
    """Return the engine's part of ``info``."""

    def shown(key: str) -> str:
        value = info.get(key)
        if isinstance(value, bool):
            return str(value).lower()
        return "" if value is None else str(value)

    def optional(title: str, key: str) -> list[str]:
        return [f" {title}: {shown(key)}"] if shown(key) else []

    lines = [
        f" Containers: {shown('Containers')}",
        f"  Running: {shown('ContainersRunning')}",
        f"  Paused: {shown('ContainersPaused')}",
        f"  Stopped: {shown('ContainersStopped')}",
        f" Images: {shown('Images')}",
        *optional("Server Version", "ServerVersion"),
        *optional("Storage Driver", "Driver"),
        *(f"  {pair[0]}: {pair[1]}" for pair in info.get("DriverStatus") or ()),
        *optional("Logging Driver", "LoggingDriver"),
        *optional("Cgroup Driver", "CgroupDriver"),
        *optional("Cgroup Version", "CgroupVersion"),
        " Plugins:",
    ]
    plugins = info.get("Plugins") or {}
    for kind in ("Volume", "Network", "Authorization", "Log"):
        names = plugins.get(kind) or []
        if names or kind != "Authorization":
            lines.append(f"  {kind}: {' '.join(names)}")
    lines.append(f" Swarm: {(info.get('Swarm') or {}).get('LocalNodeState', 'inactive')}")
    if info.get("Runtimes"):
        lines += [f" Runtimes: {' '.join(sorted(info['Runtimes']))}", f" Default Runtime: {shown('DefaultRuntime')}"]
    if info.get("OSType") == "linux":
        lines.append(f" Init Binary: {shown('InitBinary')}")
        for title, key in (("containerd", "ContainerdCommit"), ("runc", "RuncCommit"), ("init", "InitCommit")):
            lines.append(f" {title} version: {(info.get(key) or {}).get('ID', '')}")
        lines += _security_lines(info.get("SecurityOptions") or [])
    lines += [
        *optional("Kernel Version", "KernelVersion"),
        *optional("Operating System", "OperatingSystem"),
        *optional("OSType", "OSType"),
        *optional("Architecture", "Architecture"),
        f" CPUs: {shown('NCPU')}",
        f" Total Memory: {human_size_binary(info.get('MemTotal') or 0)}",
        *optional("Name", "Name"),
        *optional("ID", "ID"),
        f" Docker Root Dir: {shown('DockerRootDir')}",
        f" Debug Mode: {shown('Debug')}",
        *optional("HTTP Proxy", "HttpProxy"),
        *optional("HTTPS Proxy", "HttpsProxy"),
        *optional("No Proxy", "NoProxy"),
        *([f" Username: {user}"] if user else []),
    ]
    if info.get("Labels"):
        lines += [" Labels:", *(f"  {label}" for label in info["Labels"])]
    lines.append(f" Experimental: {shown('ExperimentalBuild')}")
    lines += _registry_lines(info.get("RegistryConfig") or {})
    lines.append(f" Live Restore Enabled: {shown('LiveRestoreEnabled')}")
    pools = info.get("DefaultAddressPools") or ()
    if pools:
        lines += [
            " Default Address Pools:",
            *(f"   Base: {pool.get('Base')}, Size: {pool.get('Size')}" for pool in pools),
        ]
    return lines


def _security_lines(options: list[str]) -> list[str]:
    lines = [" Security Options:"] if options else []
    for option in options:
        fields = dict(part.partition("=")[::2] for part in option.split(","))
        lines.append(f"  {fields.get('name', option)}")
        if "profile" in fields:
            lines.append(f"   Profile: {fields['profile']}")
    return lines


def _registry_lines(registries: dict[str, Any]) -> list[str]:
    indexes = registries.get("IndexConfigs") or {}
    insecure = [name for name, index in indexes.items() if not index.get("Secure")]
    insecure += registries.get("InsecureRegistryCIDRs") or []
    lines = [" Insecure Registries:", *(f"  {name}" for name in insecure)] if insecure or indexes else []
    if registries.get("Mirrors"):
        lines += [" Registry Mirrors:", *(f"  {mirror}" for mirror in registries["Mirrors"])]
    return lines


_FORMAT = Flag("format", "f", "string", "'json' or a Go template")

COMMANDS = {
    "version": Command("[OPTIONS]", "Show the versions of client and engine", run_version, (_FORMAT,), max_args=0),
    "system info": Command(
        "[OPTIONS]",
        "Show what the engine says of itself and its host",
        run_info,
        (_FORMAT,),
        max_args=0,
        aliases=("system info", "info"),
    ),
}
