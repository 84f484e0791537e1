"""The default profile is as strict as Docker's; custom ones are read as Docker reads them; compiled ones are kept."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import InvalidArgument
from engine.runtime.capabilities import DEFAULT, NAMES
from engine.runtime.host import HostFacts
from engine.runtime.seccomp import SeccompCache, custom_profile, default_profile

HOST = HostFacts(architecture="amd64", kernel=(6, 1))
CLONE_FLAGS = 0x7E020000


def rules(profile: dict[str, Any], call: str) -> list[dict[str, Any]]:
    return [rule for rule in profile["syscalls"] if call in rule["names"]]


def test_default_refuses_what_docker_s_refuses() -> None:
    profile = default_profile(list(DEFAULT), HOST)
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    for call in (
        "mount", "umount2", "unshare", "setns", "bpf", "perf_event_open", "keyctl", "add_key", "request_key",
        "userfaultfd", "init_module", "kexec_load", "reboot", "swapon", "open_by_handle_at", "quotactl", "acct",
        "io_uring_setup", "pivot_root", "move_mount", "fsopen", "kcmp", "nfsservctl", "settimeofday", "iopl",
    ):  # fmt: skip
        assert rules(profile, call) == [], call
    for call in ("read", "write", "execve", "clone", "futex", "openat2", "chroot", "ptrace", "arch_prctl"):
        assert rules(profile, call), call


def test_conditions_on_arguments() -> None:
    profile = default_profile(list(DEFAULT), HOST)
    (clone,) = rules(profile, "clone")
    assert clone["args"] == [{"index": 0, "value": CLONE_FLAGS, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}]
    (clone3,) = rules(profile, "clone3")
    assert (clone3["action"], clone3["errnoRet"]) == ("SCMP_ACT_ERRNO", 38)
    (socket,) = rules(profile, "socket")
    assert socket["args"] == [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]
    personalities = [rule["args"][0]["value"] for rule in rules(profile, "personality")]
    assert personalities == [0, 8, 0x20000, 0x20008, 0xFFFFFFFF]


@pytest.mark.parametrize(
    ("capability", "call"),
    [
        ("CAP_SYS_ADMIN", "mount"),
        ("CAP_SYS_ADMIN", "setns"),
        ("CAP_SYS_MODULE", "init_module"),
        ("CAP_SYS_BOOT", "reboot"),
        ("CAP_BPF", "bpf"),
        ("CAP_SYS_TIME", "settimeofday"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_NICE", "mbind"),
        ("CAP_SYSLOG", "syslog"),
    ],
)
def test_capabilities_open_their_calls(capability: str, call: str) -> None:
    assert rules(default_profile([*DEFAULT, capability], HOST), call)
    assert not rules(default_profile(list(DEFAULT), HOST), call)


def test_sys_admin_may_clone_anything() -> None:
    profile = default_profile(list(NAMES), HOST)
    assert all("args" not in rule for rule in rules(profile, "clone"))
    assert [rule["action"] for rule in rules(profile, "clone3")] == ["SCMP_ACT_ALLOW"]


def test_without_chroot_there_is_no_chroot() -> None:
    assert not rules(default_profile([], HOST), "chroot")


def test_machine_and_kernel() -> None:
    arm = default_profile(list(DEFAULT), replace(HOST, architecture="arm64"))
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert not rules(arm, "arch_prctl")
    assert rules(arm, "cacheflush")
    s390 = default_profile(list(DEFAULT), replace(HOST, architecture="s390x"))
    assert rules(s390, "clone")[0]["args"][0]["index"] == 1
    old = default_profile(list(DEFAULT), replace(HOST, kernel=(4, 4)))
    assert not rules(old, "ptrace")


def test_custom_profile_filters_like_docker() -> None:
    text = """{
      "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
      "archMap": [{"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
                  {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
      "syscalls": [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "comment": "x"},
        {"name": "write", "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "9.0"}},
        {"names": ["c"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5, "includes": {"minKernel": "4.8"},
         "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}]}
      ]}"""
    assert custom_profile(text, ["CAP_CHOWN"], HOST) == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["write"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["c"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 5,
                "args": [{"index": 1, "value": 2, "valueTwo": 3, "op": "SCMP_CMP_MASKED_EQ"}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "Decoding seccomp profile failed: "),
        ("{}", "Decoding seccomp profile failed: "),
        ("[" * 100_000, "Decoding seccomp profile failed: "),
        (
            '{"defaultAction": "x", "architectures": ["a"], "archMap": [{"architecture": "b"}]}',
            "both 'architectures' and 'archMap' are specified",
        ),
        (
            '{"defaultAction": "x", "syscalls": [{"name": "a", "names": ["b"], "action": "x"}]}',
            "both 'name' and 'names' are specified",
        ),
        (
            '{"defaultAction": "x", "syscalls": [{"names": ["b"], "action": "x", "includes": {"minKernel": "5"}}]}',
            "invalid kernel version: 5",
        ),
    ],
)
def test_bad_profiles(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as raised:
        custom_profile(text, [], HOST)
    assert message in raised.value.message


def spec() -> dict[str, Any]:
    return {"linux": {"seccomp": default_profile(list(DEFAULT), HOST)}, "annotations": {"a": "b"}}


def test_a_compiled_filter_is_used_from_the_second_time_on(tmp_path: Path) -> None:
    cache = SeccompCache(tmp_path / "filters")
    first = spec()
    profile = first["linux"]["seccomp"]
    cache.apply(first)
    assert first["linux"]["seccomp"] is profile
    (tmp_path / "seccomp.bpf").write_bytes(b"12345678" * 3)
    cache.keep(profile, tmp_path)
    for again in (cache, SeccompCache(tmp_path / "filters")):
        second = spec()
        again.apply(second)
        assert second["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_ALLOW"}
        assert base64.b64decode(second["annotations"]["run.oci.seccomp_bpf_data"]) == b"12345678" * 3
        assert second["annotations"]["a"] == "b"
    other = spec()
    other["linux"]["seccomp"]["defaultErrnoRet"] = 2
    cache.apply(other)
    assert "run.oci.seccomp_bpf_data" not in other["annotations"]


@pytest.mark.parametrize("content", [b"", b"1234567"])
def test_a_damaged_filter_is_not_used(tmp_path: Path, content: bytes) -> None:
    cache = SeccompCache(tmp_path / "filters")
    (tmp_path / "seccomp.bpf").write_bytes(content)
    cache.keep(spec()["linux"]["seccomp"], tmp_path)
    cache.keep(spec()["linux"]["seccomp"], tmp_path / "absent")
    found = spec()
    cache.apply(found)
    assert "defaultErrnoRet" in found["linux"]["seccomp"]
    assert not (tmp_path / "filters").exists()
