"""Requests made up from the API's own description: valid ones, and ones with every kind of wrong value.

``requests_of`` is a Hypothesis strategy over all operations; ``Sender`` sends them to an engine and judges: never a
500, never silence, never an answer that is no error of Docker's form. Names come from a small pool, so that requests
meet what earlier ones made. Nothing that is generated reaches beyond the engine: every registry is a closed port.
"""

from __future__ import annotations

import json
import socket
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st

from tests.contract.schema import Description, Operation
from tests.contract.transcript import make_tar
from tests.engine_process import EngineProcess

ANSWER_TIMEOUT_S = 45.0
PEEK_S = 0.2
SETTINGS = {"proxies": {"http-proxy": "http://127.0.0.1:1", "https-proxy": "http://127.0.0.1:1", "no-proxy": ""}}
"""What an engine's daemon.json needs, so that no name leads out of this machine."""

_NAMES = ("one", "two", "three", "gone")
_IMAGES = ("busybox", "busybox", "busybox:latest", "busybox", "made:1", "missing", "127.0.0.1:1/none")
_TEXTS = ("", "x", "0", "-1", "a/b", "../..", "/", "/tmp", "x" * 300, "ü☃", "\x00", "a b", "null", "{}", "%2F")
_FILTERS = ('{"name":["one"]}', '{"label":["a=b"]}', '{"nonsense":["x"]}', "{", "[]", '{"name":5}', '{"until":["1s"]}')
_NUMBERS = (0, 1, -1, 2, 100, 2**31, 2**63 - 1, -(2**63), 10**30)
_COMMANDS: tuple[list[str], ...] = (
    ["true"],
    ["sleep", "100"],
    ["sh", "-c", "echo out; echo err >&2"],
    ["/nothing"],
    [],
)
_DEVICE = {"PathOnHost": "/dev/null", "PathInContainer": "/dev/n", "CgroupPermissions": "rwm"}
_NOWHERE = ("127.0.0.1:1/none", "UPPER", "", "http://127.0.0.1:1/x")
# What would wait, or change the machine that the tests run on, gets only these.
_PINNED: dict[str, tuple[Any, ...]] = {
    "Binds": (None, [], ["one:/x"], ["/tmp:/tmp:ro"], ["nonsense"], [":"], ["/missing/here:/x"]),
    "Cmd": _COMMANDS,
    "Container": _NAMES,
    "Devices": (None, [], [_DEVICE]),
    "Driver": ("", "local", "bridge", "nonsense", "host", "null"),
    "Entrypoint": (None, [], ["sh"], ["env"]),
    "Image": _IMAGES,
    "Name": _NAMES,
    "NetworkMode": ("", "none", "bridge", "default", "one", "container:one", "nonsense"),
    "PidMode": ("", "container:one", "nonsense"),
    "Privileged": (False,),
    "Runtime": ("", "runc", "crun", "nonsense"),
    "Source": ("one", "/tmp", "", "a/b"),
    "Subnet": ("198.51.100.0/24", "192.0.2.0/28", "nonsense", "0.0.0.0/0"),
    "Sysctls": (None, {}, {"nonsense": "1"}),
    "container": _NAMES,
    "follow": ("0",),
    "fromImage": _NOWHERE,
    "fromSrc": ("-", "http://127.0.0.1:1/x", "nonsense"),
    "h": ("10", "x", "-1", "99999999999"),
    "name": _NAMES,
    "path": ("/", "/tmp", "/etc/passwd", "/missing", "", "../..", "/proc/self/root"),
    "remote": _NOWHERE,
    "repo": ("made", "UPPER", "", "127.0.0.1:1/none"),
    "serveraddress": ("127.0.0.1:1", "\x00", ""),
    "stream": ("0", "1", "x"),
    "t": ("0", "1", "-5", "x"),
    "tag": ("1", "latest", "bad tag", ""),
    "term": ("127.0.0.1:1/x", ""),
    "timeout": ("0", "1", "x"),
    "until": ("1", "x", ""),
    "w": ("10", "", "0"),
}
# What only refuses, since there is no swarm here: one of these for many of the others.
_RARE = ("Swarm", "Node", "Service", "Task", "Secret", "Config", "Session", "Distribution")
# What stands for {name} and {id}, by the operation's tag. The one image that everything needs is never removed.
_PARTS = {
    "Image": ("made:1", "made", "missing", "127.0.0.1:1/none", "UPPER"),
    "Distribution": ("127.0.0.1:1/none", "UPPER"),
    "Network": (*_NAMES, "bridge", "host", "none"),
}
# moby answers these with 500 as well: what an outer server says, and texts that have lost their kind.
_DOCKERS_500 = ('"Get \\"http', "Cannot locate specified Dockerfile", "strconv.Atoi: parsing")
# These may go on for ever by what they are: the beginning of their answer is enough.
_ENDLESS = ("/events", "/logs", "/attach", "/stats", "/wait", "/start", "/ws")
_LEFT_OUT = frozenset({"POST /session", "POST /grpc"})


@dataclass(frozen=True)
class Request:
    """A generated request."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body: bytes | None
    content_type: str = "application/json"

    @property
    def target(self) -> str:
        """Path and query, encoded."""
        query = f"?{urlencode(self.query)}" if self.query else ""
        return quote(self.path, safe="/:@%") + query

    def __str__(self) -> str:
        """Return it for a person, so that it can be sent again."""
        body = self.body or b""
        return f"{self.method} {self.target} " + (
            body[:600].decode(errors="replace") if self.is_json else f"{len(body)} B"
        )

    @property
    def is_json(self) -> bool:
        """Whether its body is meant as JSON."""
        return self.content_type == "application/json"


def requests_of(description: Description) -> st.SearchStrategy[Request]:
    """Return a strategy of requests to every operation of the description."""
    operations = [
        operation for _, operation in description.operations if f"{operation.method} {operation.path}" not in _LEFT_OUT
    ]
    rare = [item for item in operations if set(item.definition.get("tags", ())) & set(_RARE)]
    common = [item for item in operations if item not in rare]
    chosen = st.integers(0, 30).flatmap(lambda number: st.sampled_from(common if number else rare))
    return chosen.flatmap(lambda operation: _requests(description, operation))


def _requests(description: Description, operation: Operation) -> st.SearchStrategy[Request]:
    parameters = [item for item in operation.definition.get("parameters", ()) if "$ref" not in item]
    tag = (operation.definition.get("tags") or [""])[0]
    names = _PARTS.get(tag, _NAMES)
    if tag == "Image" and operation.method == "GET":
        names += _IMAGES
    places = st.sampled_from((*names, *names, *names, "%00", "x"))
    path = st.fixed_dictionaries({
        item["name"]: places
        for item in parameters if item["in"] == "path"
    })  # fmt: skip
    query = st.fixed_dictionaries({}, optional={
        item["name"]: _query_values(item) for item in parameters if item["in"] == "query"
    })  # fmt: skip
    bodies = [item for item in parameters if item["in"] == "body"]
    body: st.SearchStrategy[tuple[bytes | None, str]] = st.just((None, "application/json"))
    if bodies:
        schema = bodies[0].get("schema", {})
        body = _bodies(description, schema, is_binary=schema.get("format") == "binary")
    return st.builds(
        lambda parts, words, content: Request(
            operation.method, _fill(operation.path, parts), tuple(words.items()), content[0], content[1]
        ),
        path,
        query,
        body,
    )


def _fill(template: str, parts: dict[str, str]) -> str:
    for name, value in parts.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _query_values(parameter: dict[str, Any]) -> st.SearchStrategy[str]:
    name = parameter["name"]
    if name in _PINNED:
        return st.sampled_from(_PINNED[name]).map(lambda value: value if isinstance(value, str) else json.dumps(value))
    if name == "filters":
        return st.sampled_from(_FILTERS)
    if parameter.get("type") == "boolean":
        return st.sampled_from(("0", "1", "true", "", "nonsense"))
    if parameter.get("type") in ("integer", "number"):
        return st.sampled_from(_NUMBERS).map(str) | st.sampled_from(_TEXTS)
    return st.sampled_from(_TEXTS)


def _bodies(
    description: Description, schema: dict[str, Any], *, is_binary: bool
) -> st.SearchStrategy[tuple[bytes | None, str]]:
    broken = st.sampled_from((b"", b"{", b"null", b"[]", b"5", b'"x"', b"{}{}", b"\xff\xfe", b"[" * 5000))
    if is_binary or schema.get("type") == "string":
        archive = st.sampled_from((make_tar(["a=b", "c/"]), make_tar(["../x=1", "l->/etc"]), b"", b"x" * 2000))
        return archive.map(lambda data: (data, "application/x-tar"))
    whole = _values(description, schema, "", 0).map(lambda value: json.dumps(value).encode())
    kinds = st.sampled_from(("application/json",) * 12 + ("text/plain", ""))
    return st.tuples(st.one_of(whole, whole, whole, whole, broken), kinds)


def _values(description: Description, schema: dict[str, Any], name: str, depth: int) -> st.SearchStrategy[Any]:
    schema = description.resolve(schema)
    wrong: st.SearchStrategy[Any] = st.sampled_from((None, 5, "x", [], {}, True, 1.5, ["x", 5], {"a": {"b": None}}))
    if name in _PINNED:
        return st.sampled_from(_PINNED[name])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    right: st.SearchStrategy[Any]
    if kind == "object":
        right = _objects(description, schema, depth)
    elif kind == "array":
        right = st.lists(_values(description, schema.get("items", {}), "", depth + 1), max_size=2)
    elif kind == "boolean":
        right = st.booleans()
    elif kind in ("integer", "number"):
        right = st.sampled_from(_NUMBERS)
    else:
        right = st.sampled_from((*_TEXTS, *schema.get("enum", ())))
    # One wrong value spoils a whole request: most have none.
    return st.integers(0, 60).flatmap(lambda number: wrong if number == 0 and depth else right)


def _objects(description: Description, schema: dict[str, Any], depth: int) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    if depth > 4:
        return st.just({})
    if properties:
        fields = {name: _values(description, item, name, depth + 1) for name, item in properties.items()}
        few = st.integers(0, 4).flatmap(
            lambda most: st.lists(st.sampled_from(sorted(fields)), max_size=most, unique=True)
        )
        always = [name for name in ("Image", "Cmd", "Name") if name in fields]
        return few.flatmap(
            lambda chosen: st.fixed_dictionaries({name: fields[name] for name in dict.fromkeys([*always, *chosen])})
        )
    more = schema.get("additionalProperties")
    inner = _values(description, more, "", depth + 1) if isinstance(more, dict) else st.sampled_from(_TEXTS)
    return st.dictionaries(st.sampled_from(_TEXTS), inner, max_size=2)


@dataclass
class Sender:
    """Sends requests to ``engine`` and keeps what is wrong with its answers."""

    engine: EngineProcess
    faults: dict[str, str] = field(default_factory=dict)
    statuses: dict[int, int] = field(default_factory=dict)

    def send(self, request: Request) -> str:
        """Send it; return what is wrong with the answer, empty when nothing is."""
        begun = time.monotonic()
        try:
            status, content = self._exchange(request)
        except TimeoutError:
            return self._fault(request, f"no answer after {time.monotonic() - begun:.0f} s")
        except ConnectionRefusedError:
            return self._fault(request, "the engine is gone")
        self.statuses[status] = self.statuses.get(status, 0) + 1
        is_dockers = any(text.encode() in content for text in _DOCKERS_500)
        if status == 0 or (status == 500 and not is_dockers):
            return self._fault(request, f"{status}: {content[:400]!r}")
        if status >= 400 and request.method != "HEAD":
            try:
                message = json.loads(content)["message"]
            except (ValueError, KeyError, TypeError):
                return self._fault(request, f"{status} without a message: {content[:200]!r}")
            if not isinstance(message, str):
                return self._fault(request, f"{status}: {message!r} is no text")
        return ""

    def _fault(self, request: Request, text: str) -> str:
        """Keep a fault; the same answer of the same operation is kept once."""
        fault = f"{request}\n  {text}"
        self.faults.setdefault(f"{request.method} {request.path.rpartition('/')[2]} {text}", fault)
        return fault

    def _exchange(self, request: Request) -> tuple[int, bytes]:
        body = request.body or b""
        head = f"{request.method} {request.target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {len(body)}\r\n"
        if request.content_type:
            head += f"Content-Type: {request.content_type}\r\n"
        received = bytearray()
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_TIMEOUT_S)
            connection.connect(str(self.engine.socket))
            try:
                connection.sendall(f"{head}\r\n".encode() + body)
                while block := connection.recv(65536):
                    received += block
                    if b"\r\n\r\n" in received and request.path.endswith(_ENDLESS):
                        connection.settimeout(PEEK_S)
            except (BrokenPipeError, ConnectionResetError):
                pass
            except TimeoutError:
                if b"\r\n\r\n" not in received:
                    raise
        first, _, content = bytes(received).partition(b"\r\n\r\n")
        words = first.split(b" ", 2)
        return (int(words[1]) if len(words) > 2 or len(words) == 2 else 0), _unchunked(first, content)


def _unchunked(head: bytes, content: bytes) -> bytes:
    if b"transfer-encoding: chunked" not in head.lower():
        return content
    from tests.contract.player import dechunk

    return dechunk(content)


def clear(engine: EngineProcess) -> None:
    """Remove what the requests made, so that leaks can be told from what is there."""
    for item in engine.api("GET", "/containers/json?all=1")[1]:
        engine.api("DELETE", f"/containers/{item['Id']}?force=1&v=1")
    engine.api("POST", "/networks/prune")
    engine.api("POST", '/volumes/prune?filters={"all":["1"]}')
    for item in engine.api("GET", "/networks")[1]:
        if item["Name"] not in ("bridge", "host", "none"):
            engine.api("DELETE", f"/networks/{item['Id']}")
