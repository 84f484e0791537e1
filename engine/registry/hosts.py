"""How a registry is reached: mirrors, insecure ones, certificates, proxies."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from engine.config import Proxies
from engine.errors import InvalidArgument
from engine.wire.references import DEFAULT_DOMAIN

DOCKER_HUB = "registry-1.docker.io"
_LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))


@dataclass(frozen=True)
class RegistrySettings:
    """What the engine's settings say of registries."""

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    proxies: Proxies = field(default_factory=Proxies)
    certificate_folders: tuple[Path, ...] = (Path("/etc/docker/certs.d"), Path("/etc/portside/certs.d"))
    connect_timeout_s: float = 30
    read_timeout_s: float = 60
    retry_pause_s: int = 5


@dataclass(frozen=True)
class Endpoint:
    """One address to try; ``tls`` False takes any certificate, None is plain HTTP."""

    url: str
    host: str
    tls: ssl.SSLContext | None
    is_mirror: bool = False


def is_insecure(domain: str, insecure: tuple[str, ...]) -> bool:
    """Whether a registry may be reached without TLS or with any certificate: listed, or on the loopback."""
    host = domain.rpartition(":")[0] if domain.rpartition(":")[2].isdigit() else domain
    host = host.strip("[]") or domain
    if domain in insecure or host in insecure:
        return True
    networks = [*_LOOPBACK]
    for item in insecure:
        try:
            networks.append(ipaddress.ip_network(item, strict=False))
        except ValueError:
            continue
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        if host == "localhost":
            return True
        if len(networks) == len(_LOOPBACK):
            return False
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError:
            return False
        addresses = [ipaddress.ip_address(str(item[4][0])) for item in found]
    return any(
        address.version == network.version and address in network for address in addresses for network in networks
    )


def endpoints(domain: str, settings: RegistrySettings) -> list[Endpoint]:
    """Return the addresses to try for a registry, in order (may look names up: call it in a thread).

    Raises InvalidArgument for certificates in certs.d that cannot be used.
    """
    found: list[Endpoint] = []
    if domain == DEFAULT_DOMAIN:
        for mirror in settings.mirrors:
            host = mirror.partition("://")[2]
            tls = _context(host, settings, verify=True) if mirror.startswith("https") else None
            found.append(Endpoint(mirror, host, tls, is_mirror=True))
        return [*found, Endpoint(f"https://{DOCKER_HUB}", DOCKER_HUB, _context(DOCKER_HUB, settings, verify=True))]
    if is_insecure(domain, settings.insecure):
        return [
            Endpoint(f"https://{domain}", domain, _context(domain, settings, verify=False)),
            Endpoint(f"http://{domain}", domain, None),
        ]
    return [Endpoint(f"https://{domain}", domain, _context(domain, settings, verify=True))]


def _context(host: str, settings: RegistrySettings, *, verify: bool) -> ssl.SSLContext:
    if verify:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # without the 1.5 MB of authorities it would not ask
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for base in settings.certificate_folders:
        folder = base / host
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            try:
                if path.suffix == ".crt":
                    context.load_verify_locations(path)
                elif path.suffix == ".cert":
                    key = path.with_suffix(".key")
                    if not key.exists():
                        raise InvalidArgument(
                            f"missing key {key.name} for client certificate {path.name}. "
                            "CA certificates must use the extension .crt"
                        )
                    context.load_cert_chain(path, key)
            except (OSError, ssl.SSLError) as error:
                raise InvalidArgument(f"certificate {path}: {error}") from error
    return context


def proxy_for(url: str, proxies: Proxies) -> str | None:
    """Return the proxy for a URL, from the settings or else from the environment; None for none."""
    scheme, _, rest = url.partition("://")
    host = rest.partition("/")[0]
    configured = proxies.https if scheme == "https" else proxies.http
    value = configured or os.environ.get(f"{scheme.upper()}_PROXY") or os.environ.get(f"{scheme}_proxy")
    if not value:
        return None
    exceptions = proxies.no_proxy or os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or ""
    bypass = getattr(urllib.request, "proxy_bypass_environment")  # noqa: B009 - typeshed lacks it
    if exceptions and bypass(host, {"no": exceptions}):
        return None
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name == "localhost" or name.startswith("127.") or name == "[::1]":
        return None
    return value if "://" in value else f"http://{value}"
