"""Seccomp filters: the default profile, profiles in Docker's format, and the cache of compiled ones.

The default is data (``seccomp.json``): calls that are always allowed, and rules by capability, machine
and kernel. It allows what Docker's default allows and nothing more.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from engine.errors import InvalidArgument
from engine.runtime.host import HostFacts

UNCONFINED = "unconfined"
BUILTIN = "builtin"
BPF_ANNOTATION = "run.oci.seccomp_bpf_data"
_EPERM = 1
_MAX_FILTER_BYTES = 256 * 1024
_MAX_KNOWN = 32


class _Rule(msgspec.Struct, forbid_unknown_fields=True):
    calls: list[str]
    errno: int = 0
    argument: int = 0
    equal: list[int] = []
    not_equal: int | None = None
    masked_zero: int | None = None
    capability: str = ""
    without_capability: str = ""
    machines: list[str] = []
    not_machines: list[str] = []
    kernel: tuple[int, int] = (0, 0)


class _Profile(msgspec.Struct, forbid_unknown_fields=True):
    machines: dict[str, list[str]]
    always: list[str]
    rules: list[_Rule]


@cache
def _default_data() -> _Profile:
    return msgspec.json.decode(Path(__file__).with_name("seccomp.json").read_bytes(), type=_Profile)


def default_profile(capabilities: list[str], host: HostFacts) -> dict[str, Any]:
    """Return OCI's ``linux.seccomp`` of the default profile for a container's bounding capabilities."""
    data = _default_data()
    calls: list[dict[str, Any]] = [{"names": data.always, "action": "SCMP_ACT_ALLOW"}]
    for rule in data.rules:
        if _applies(rule, capabilities, host):
            calls += _oci_rules(rule)
    profile: dict[str, Any] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": _EPERM, "syscalls": calls}
    architectures = data.machines.get(host.architecture)
    if architectures:
        profile["architectures"] = [f"SCMP_ARCH_{name}" for name in architectures]
    return profile


def _applies(rule: _Rule, capabilities: list[str], host: HostFacts) -> bool:
    if rule.capability and rule.capability not in capabilities:
        return False
    if rule.without_capability and rule.without_capability in capabilities:
        return False
    if rule.machines and host.architecture not in rule.machines:
        return False
    return host.architecture not in rule.not_machines and host.kernel >= rule.kernel


def _oci_rules(rule: _Rule) -> list[dict[str, Any]]:
    action = {"names": rule.calls, "action": "SCMP_ACT_ERRNO" if rule.errno else "SCMP_ACT_ALLOW"}
    if rule.errno:
        action["errnoRet"] = rule.errno  # type: ignore[assignment]
    arguments: list[dict[str, Any]] = [{"value": value, "op": "SCMP_CMP_EQ"} for value in rule.equal]
    if rule.not_equal is not None:
        arguments.append({"value": rule.not_equal, "op": "SCMP_CMP_NE"})
    if rule.masked_zero is not None:
        arguments.append({"value": rule.masked_zero, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"})
    if not arguments:
        return [action]
    return [{**action, "args": [{"index": rule.argument, **argument}]} for argument in arguments]


# Profiles in Docker's format (security-opt seccomp={json})


class _Argument(msgspec.Struct, rename="camel"):
    index: int
    value: int
    op: str
    value_two: int = 0


class _Filter(msgspec.Struct, rename="camel"):
    caps: list[str] = []
    arches: list[str] = []
    min_kernel: str = ""


class _Call(msgspec.Struct, rename="camel"):
    action: str
    name: str = ""
    names: list[str] = []
    errno_ret: int | None = None
    args: list[_Argument] | None = None
    includes: _Filter | None = None
    excludes: _Filter | None = None


class _Architecture(msgspec.Struct, rename="camel"):
    architecture: str
    sub_architectures: list[str] | None = None


class _CustomProfile(msgspec.Struct, rename="camel"):
    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] = []
    arch_map: list[_Architecture] | None = None
    flags: list[str] = []
    listener_path: str = ""
    listener_metadata: str = ""
    syscalls: list[_Call] | None = None


def custom_profile(text: str, capabilities: list[str], host: HostFacts) -> dict[str, Any]:
    """Return OCI's ``linux.seccomp`` of a profile in Docker's JSON format.

    Raises InvalidArgument with moby's text for one that cannot be read or contradicts itself.
    """
    try:
        profile = msgspec.json.decode(text, type=_CustomProfile)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error
    if profile.architectures and profile.arch_map:
        raise InvalidArgument(
            "both 'architectures' and 'archMap' are specified in the seccomp profile, "
            "use either 'architectures' or 'archMap'"
        )
    result: dict[str, Any] = {"defaultAction": profile.default_action}
    if profile.default_errno_ret is not None:
        result["defaultErrnoRet"] = profile.default_errno_ret
    architectures = profile.architectures or _mapped_architectures(profile.arch_map or [], host)
    for key, value in (
        ("architectures", architectures),
        ("flags", profile.flags),
        ("listenerPath", profile.listener_path),
        ("listenerMetadata", profile.listener_metadata),
    ):
        if value:
            result[key] = value
    calls = [item for call in profile.syscalls or [] for item in _custom_call(call, capabilities, host)]
    if calls:
        result["syscalls"] = calls
    return result


def _mapped_architectures(mapping: list[_Architecture], host: HostFacts) -> list[str]:
    native = _default_data().machines.get(host.architecture, [""])[0]
    for entry in mapping:
        if entry.architecture == f"SCMP_ARCH_{native}":
            return [entry.architecture, *(entry.sub_architectures or [])]
    return []


def _custom_call(call: _Call, capabilities: list[str], host: HostFacts) -> list[dict[str, Any]]:
    if call.name and call.names:
        raise InvalidArgument(
            "both 'name' and 'names' are specified in the seccomp profile, use either 'name' or 'names'"
        )
    excludes, includes = call.excludes or _Filter(), call.includes or _Filter()
    if host.architecture in excludes.arches or any(name in capabilities for name in excludes.caps):
        return []
    if excludes.min_kernel and host.kernel >= _version(excludes.min_kernel):
        return []
    if includes.arches and host.architecture not in includes.arches:
        return []
    if not all(name in capabilities for name in includes.caps):
        return []
    if includes.min_kernel and host.kernel < _version(includes.min_kernel):
        return []
    item: dict[str, Any] = {"names": [call.name] if call.name else call.names, "action": call.action}
    if call.errno_ret is not None:
        item["errnoRet"] = call.errno_ret
    if call.args:
        item["args"] = [
            {"index": argument.index, "value": argument.value, "valueTwo": argument.value_two, "op": argument.op}
            for argument in call.args
        ]
    return [item] if item["names"] else []


def _version(text: str) -> tuple[int, int]:
    words = text.split(".")
    if len(words) != 2 or not all(word.isdigit() for word in words) or words == ["0", "0"]:
        raise InvalidArgument(
            f'Decoding seccomp profile failed: invalid kernel version: {text}, expected "<kernel>.<major>"'
        )
    return int(words[0]), int(words[1])


class SeccompCache:
    """Filters that crun has compiled, kept by the hash of their profile: compiling takes 14 ms of a create's 21.

    The files lie under the exec root, so that they go with a boot; only root can write there.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the filters in ``folder``, which is made when the first one is kept."""
        self._folder = folder
        self._known: dict[str, str] = {}

    def apply(self, spec: dict[str, Any]) -> None:
        """Put the compiled filter into ``spec`` (of crun alone) when there is one for its profile.

        Without one the spec stays as it is and the runtime compiles the profile.
        """
        profile = spec["linux"].get("seccomp")
        if profile is None:
            return
        encoded = self._load(_key(profile))
        if encoded:
            spec["annotations"] = {**spec.get("annotations", {}), BPF_ANNOTATION: encoded}
            spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}

    def _load(self, key: str) -> str:
        known = self._known.get(key)
        if known is not None:
            return known
        try:
            data = (self._folder / f"{key}.bpf").read_bytes()
        except FileNotFoundError:
            return ""
        if not data or len(data) % 8:  # a filter is a list of 8-byte instructions; anything else is damage
            return ""
        return self._remember(key, data)

    def _remember(self, key: str, data: bytes) -> str:
        if len(self._known) >= _MAX_KNOWN:  # some 20 KB each; those that are still used come back from the disk
            self._known.clear()
        encoded = base64.b64encode(data).decode()
        self._known[key] = encoded
        return encoded

    def keep(self, profile: dict[str, Any], state_dir: Path) -> None:
        """Keep what crun compiled of ``profile`` for the container whose state lies in ``state_dir``."""
        key = _key(profile)
        if key in self._known:
            return
        source = state_dir / "seccomp.bpf"
        try:
            if source.stat().st_size > _MAX_FILTER_BYTES:
                return
            data = source.read_bytes()
        except FileNotFoundError:
            return
        if not data or len(data) % 8:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f"{key}.{secrets.token_hex(4)}.tmp"
        temporary.write_bytes(data)
        temporary.replace(self._folder / f"{key}.bpf")
        self._remember(key, data)


def _key(profile: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(profile, order="sorted")).hexdigest()
