"""``~/.docker/config.json``: settings and registry credentials, as the docker CLI keeps them.

Credentials go to the user's helper (``credsStore``, ``credHelpers``) where one is set; only without one are
they written into the file, which is 0600. What the file holds besides is kept. Secrets travel by pipes, never
by arguments, and no error or ``repr`` shows them.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from engine.cli.failures import CommandError
from engine.model.system import AuthConfig

HELPER_TIMEOUT_S = 120.0
TOKEN_USER = "<token>"
NOT_FOUND_TEXT = "credentials not found in native keychain"
_PROXY_KEYS = {
    "HTTP_PROXY": "httpProxy",
    "HTTPS_PROXY": "httpsProxy",
    "NO_PROXY": "noProxy",
    "FTP_PROXY": "ftpProxy",
    "ALL_PROXY": "allProxy",
}


class ConfigFile:
    """The file's settings; changed only by ``store`` and ``erase``."""

    def __init__(self, path: Path, data: dict[str, Any], environment_auths: str = "") -> None:
        """``data`` is the file's JSON; ``environment_auths`` is DOCKER_AUTH_CONFIG."""
        self.path = path
        self._data = data
        self._environment_auths = environment_auths

    def text(self, key: str) -> str:
        """Return a setting that is a string, empty when it is not set."""
        value = self._data.get(key, "")
        return value if isinstance(value, str) else ""

    def _table(self, key: str) -> dict[str, Any]:
        value = self._data.get(key)
        return value if isinstance(value, dict) else {}

    @property
    def http_headers(self) -> dict[str, str]:
        """Headers that go with every request."""
        return {name: str(value) for name, value in self._table("HttpHeaders").items() if name.lower() != "user-agent"}

    @property
    def prune_filters(self) -> list[str]:
        """Filters that every prune gets."""
        value = self._data.get("pruneFilters")
        return [str(item) for item in value] if isinstance(value, list) else []

    def proxy_environment(self, host: str) -> dict[str, str]:
        """Return the proxy variables that new containers get, in both spellings."""
        proxies = self._table("proxies")
        chosen = proxies.get(host, proxies.get("default"))
        values: dict[str, str] = {}
        if isinstance(chosen, dict):
            for name, key in _PROXY_KEYS.items():
                if chosen.get(key):
                    values[name] = values[name.lower()] = str(chosen[key])
        return values

    def helper_for(self, server: str) -> str:
        """Return the credential helper of a server, empty when the file itself keeps its credentials."""
        return str(self._table("credHelpers").get(server) or self.text("credsStore"))

    def credentials(self, server: str) -> AuthConfig | None:
        """Return what is stored for a server, None for nothing; raises CommandError when the helper fails."""
        from_environment = self._from_environment(server)
        if from_environment is not None:
            return from_environment
        helper = self.helper_for(server)
        if helper:
            return _get_from_helper(helper, server)
        auths = self._table("auths")
        entry = auths.get(server)
        if entry is None:
            entry = next((value for key, value in auths.items() if hostname_of(key) == server), None)
        return _decode_entry(entry, server) if isinstance(entry, dict) else None

    def all_credentials(self) -> dict[str, AuthConfig]:
        """Return what is stored for all servers; a helper that fails for one of them is left out."""
        found: dict[str, AuthConfig] = {}
        for server in [*self._table("auths"), *self._table("credHelpers")]:
            with contextlib.suppress(CommandError):
                credentials = self.credentials(server)
                if credentials is not None:
                    found[server] = credentials
        return found

    def _from_environment(self, server: str) -> AuthConfig | None:
        if not self._environment_auths:
            return None
        with contextlib.suppress(ValueError, AttributeError):
            entry = json.loads(self._environment_auths).get("auths", {}).get(server)
            if isinstance(entry, dict):
                return _decode_entry(entry, server)
        return None

    def store(self, credentials: AuthConfig) -> bool:
        """Keep credentials for their server; true when they went unencrypted into the file."""
        server = credentials.serveraddress
        helper = self.helper_for(server)
        if helper:
            user = TOKEN_USER if credentials.identitytoken else credentials.username
            secret = credentials.identitytoken or credentials.password
            _call_helper(helper, "store", json.dumps({"ServerURL": server, "Username": user, "Secret": secret}))
            # The file names the server, so that tools see where one is logged in, but holds no secret.
            entry: dict[str, str] = {}
        else:
            pair = f"{credentials.username}:{credentials.password}".encode()
            entry = {"auth": base64.b64encode(pair).decode()}
            if credentials.identitytoken:
                entry["identitytoken"] = credentials.identitytoken
        auths = self._data.setdefault("auths", {})
        is_new = auths.get(server) != entry
        auths[server] = entry
        self._save()
        return is_new and not helper and bool(credentials.password)

    def erase(self, server: str) -> None:
        """Forget a server's credentials; raises CommandError when the helper fails."""
        helper = self.helper_for(server)
        if helper:
            _call_helper(helper, "erase", server)
        if server in self._table("auths"):
            del self._data["auths"][server]
            self._save()

    def _save(self) -> None:
        """Replace the file at once, 0600, links followed."""
        target = Path(os.path.realpath(self.path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f"{target.name}.")
        except OSError as error:
            raise CommandError(f"Error saving credentials: {error.strerror}: {error.filename}") from error
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(self._data, file, indent="\t", ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except OSError as error:
            Path(name).unlink(missing_ok=True)
            raise CommandError(f"Error saving credentials: {error.strerror}: {target}") from error


def load_config(folder: str, environment_auths: str = "") -> ConfigFile:
    """Read the configuration of a folder; one that is missing is empty. Raises CommandError for broken JSON."""
    path = Path(folder) / "config.json"
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        data = {}
    except PermissionError as error:
        raise CommandError(f"open {path}: permission denied", hint="check the file's owner and mode") from error
    except (OSError, ValueError) as error:
        raise CommandError(
            f"WARNING: Error loading config file: {path}: {error}", hint="mend or move the file"
        ) from error
    if not isinstance(data, dict):
        raise CommandError(f"WARNING: Error loading config file: {path}: it is no JSON object")
    return ConfigFile(path, data, environment_auths)


def hostname_of(server: str) -> str:
    """Return the host and port of a registry's address, with or without scheme and path."""
    return server.removeprefix("http://").removeprefix("https://").partition("/")[0]


def _decode_entry(entry: dict[str, Any], server: str) -> AuthConfig | None:
    credentials = AuthConfig(serveraddress=server, identitytoken=str(entry.get("identitytoken", "")))
    credentials.registrytoken = str(entry.get("registrytoken", ""))
    if entry.get("auth"):
        try:
            user, colon, secret = base64.b64decode(str(entry["auth"]), validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            colon = user = secret = ""
        if not colon or not user:
            raise CommandError("Invalid auth configuration file", hint=f"log in to {server} again")
        credentials.username, credentials.password = user, secret.strip("\0")
    has_any = credentials.username or credentials.identitytoken or credentials.registrytoken
    return credentials if has_any else None


def _get_from_helper(helper: str, server: str) -> AuthConfig | None:
    answer = _call_helper(helper, "get", server, absent_is_empty=True)
    if not answer:
        return None
    try:
        found = json.loads(answer)
        user, secret = str(found["Username"]), str(found["Secret"])
    except (ValueError, KeyError, TypeError):
        raise CommandError(f"error getting credentials - docker-credential-{helper} answered no credentials") from None
    if user == TOKEN_USER:
        return AuthConfig(identitytoken=secret, serveraddress=server)
    return AuthConfig(username=user, password=secret, serveraddress=server)


def _call_helper(helper: str, action: str, text: str, *, absent_is_empty: bool = False) -> str:
    """Run ``docker-credential-<helper>``; its errors come on standard output. The input is never shown."""
    words = {"get": "getting", "store": "storing", "erase": "erasing"}
    program = f"docker-credential-{helper}"
    try:
        result = subprocess.run(
            [program, action], input=text, capture_output=True, text=True, timeout=HELPER_TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        message = f"error {words[action]} credentials - err: exec: {program!r}: executable file not found in $PATH"
        hint = f"install {program}, or take it out of the configuration file"
        raise CommandError(message.replace("'", '"'), hint=hint) from None
    except subprocess.TimeoutExpired:
        message = f"error {words[action]} credentials - {program} did not answer in {HELPER_TIMEOUT_S:.0f} s"
        raise CommandError(message) from None
    if result.returncode == 0:
        return result.stdout
    said = (result.stdout or result.stderr).strip()
    if said == NOT_FOUND_TEXT and (absent_is_empty or action == "erase"):
        return ""
    raise CommandError(f"error {words[action]} credentials - err: exit status {result.returncode}, out: `{said}`")
