"""Debian's docker-registry on the loopback: open, with htpasswd, or with tokens of a server made here."""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_LEEWAY_S = 60  # for which the registry takes a token after its end
USER, PASSWORD = "me", "correct horse"
_HTPASSWD = f"{USER}:$2b$05$gHhXqE3WHufK/jRAECihLeIsIpHO2c0rusirHYZcqFcOc5obiMxZq\n"


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class DebianRegistry:
    """A docker-registry under ``folder``; use it as a context manager.

    ``auth`` is "" for none, ``htpasswd`` or a TokenServer.
    """

    def __init__(self, folder: Path, auth: str | TokenServer = "") -> None:
        """Nothing runs before ``__enter__``."""
        self._folder = folder
        self._auth = auth
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"

    def __enter__(self) -> DebianRegistry:
        """Start it and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        lines = [
            "version: 0.1",
            "log: {level: error}",
            f"storage: {{filesystem: {{rootdirectory: {self._folder}/content}}, delete: {{enabled: true}}}}",
            f"http: {{addr: '{self.host}', secret: something}}",
        ]
        if isinstance(self._auth, TokenServer):
            lines.append(self._auth.settings(self._folder))
        elif self._auth == "htpasswd":
            (self._folder / "htpasswd").write_text(_HTPASSWD)
            lines.append(f"auth: {{htpasswd: {{realm: here, path: {self._folder}/htpasswd}}}}")
        (self._folder / "settings.yml").write_text("\n".join(lines) + "\n")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["docker-registry", "serve", str(self._folder / "settings.yml")], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise RuntimeError((self._folder / "log").read_text()[-2000:])
            time.sleep(0.02)

    def __exit__(self, *error: object) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Any:
        """Return the JSON of a GET; only of an open registry."""
        request = urllib.request.Request(f"http://{self.host}{path}", headers=headers or {})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository as it lies on the disk."""
        folder = self._folder / "content/docker/registry/v2/repositories" / repository / "_manifests/tags"
        return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []

    def uploads(self, repository: str) -> list[str]:
        """Return the uploads of a repository that were neither finished nor taken back."""
        folder = self._folder / "content/docker/registry/v2/repositories" / repository / "_uploads"
        return sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []


class TokenServer:
    """A token server (distribution's specification) with a key of its own; use it as a context manager.

    ``life_s`` is how long a token is good for, ``asked`` has (user, scopes) of each that was given.
    """

    def __init__(self, life_s: int = 300) -> None:
        """Make a key and a certificate."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import NameOID

        self.life_s = life_s
        self.asked: list[tuple[str, list[str]]] = []
        self.refreshes: dict[str, str] = {}
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "token server")])
        now = datetime.datetime.now(datetime.UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .sign(self._key, hashes.SHA256())
        )
        self._pem = certificate.public_bytes(serialization.Encoding.PEM)
        self._chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/token"

    def __enter__(self) -> TokenServer:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def settings(self, folder: Path) -> str:
        """Return what a registry's settings say of it."""
        (folder / "tokens.pem").write_bytes(self._pem)
        bundle = f"{folder}/tokens.pem"
        return f"auth: {{token: {{realm: '{self.url}', service: here, issuer: tests, rootcertbundle: {bundle}}}}}"

    def token(self, user: str, scopes: list[str]) -> str:
        """Return a token for scopes (``repository:a/b:pull,push``)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {
            **{"iss": "tests", "sub": user, "aud": "here", "jti": secrets.token_hex(8), "access": access},
            **{"iat": now, "nbf": now - 100, "exp": now + self.life_s - _LEEWAY_S},
        }
        head = {"typ": "JWT", "alg": "ES256", "x5c": [self._chain]}
        signed = b".".join(_segment(json.dumps(part).encode()) for part in (head, claims))
        left, right = decode_dss_signature(self._key.sign(signed, ec.ECDSA(hashes.SHA256())))
        return b".".join((signed, _segment(left.to_bytes(32, "big") + right.to_bytes(32, "big")))).decode()

    def answer(self, fields: dict[str, list[str]], authorization: str) -> dict[str, Any] | None:
        """Return the body for a request's fields, None when it is refused."""
        scopes = [scope for text in fields.get("scope", []) for scope in text.split()]
        user = ""
        if fields.get("grant_type") == ["refresh_token"]:
            user = self.refreshes.get(fields.get("refresh_token", [""])[0], "")
        elif authorization.startswith("Basic "):
            given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            user = USER if given == f"{USER}:{PASSWORD}" else ""
        if not user:
            return None
        self.asked.append((user, scopes))
        body: dict[str, Any] = {"token": self.token(user, scopes), "expires_in": 300}
        body["access_token"] = body["token"]
        if fields.get("offline_token") == ["true"]:
            refresh = secrets.token_hex(8)
            self.refreshes[refresh] = user
            body["refresh_token"] = refresh
        return body

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._give(urllib.parse.parse_qs(self.path.partition("?")[2]))

            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self._give(urllib.parse.parse_qs(data.decode()))

            def _give(self, fields: dict[str, list[str]]) -> None:
                body = owner.answer(fields, self.headers.get("Authorization", ""))
                data = json.dumps(body or {"details": "incorrect username or password"}).encode()
                self.send_response(200 if body else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's word
                """Say nothing."""

        return Handler


def _segment(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
