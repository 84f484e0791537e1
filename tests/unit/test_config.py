"""The settings: every key, what is refused and where it says so."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from engine.config import (
    KEYS,
    AddressPool,
    ConfigError,
    EngineConfig,
    Proxies,
    RuntimeSetting,
    changed_fields,
    check_files,
    instance_name,
    load,
    loading,
)
from engine.config.file import DOCKERS, find_keys
from engine.model.resources import Ulimit


def write(folder: Path, content: Any) -> Path:
    """Write a daemon.json and return its path."""
    path = folder / "daemon.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def read(folder: Path, content: Any, *flags: str) -> EngineConfig:
    """Return the settings of a file and flags."""
    return load(["--config-file", str(write(folder, content)), *flags]).config


def refusal(folder: Path, content: Any, *flags: str) -> str:
    """Return the error that a file and flags give."""
    with pytest.raises(ConfigError) as caught:
        read(folder, content, *flags)
    return caught.value.message.replace(str(folder), "DIR")


ACCEPTED: dict[str, tuple[Any, str, Any]] = {
    "hosts": (["unix:///run/x.sock", "fd://"], "hosts", ("unix:///run/x.sock", "fd://")),
    "group": ("wheel", "group", "wheel"),
    "data-root": ("/srv/data", "data_root", Path("/srv/data")),
    "exec-root": ("/run/exec", "exec_root", Path("/run/exec")),
    "pidfile": ("/run/p.pid", "pidfile", Path("/run/p.pid")),
    "log-level": ("warn", "log_level", "warn"),
    "debug": (True, "debug", True),
    "tls": (True, "", None),
    "tlsverify": (True, "", None),
    "tlscacert": ("/ca.pem", "tls_ca", Path("/ca.pem")),
    "tlscert": ("/cert.pem", "tls_cert", Path("/cert.pem")),
    "tlskey": ("/key.pem", "tls_key", Path("/key.pem")),
    "registry-mirrors": (["https://mirror.example/"], "registry_mirrors", ("https://mirror.example",)),
    "insecure-registries": (["10.0.0.0/8", "host:5000"], "insecure_registries", ("10.0.0.0/8", "host:5000")),
    "proxies": ({"http-proxy": "http://p:1", "no-proxy": "x"}, "proxies", Proxies("http://p:1", "", "x")),
    "bip": ("172.20.0.1/16", "bip", ipaddress.IPv4Interface("172.20.0.1/16")),
    "default-address-pools": (
        [{"base": "10.10.0.0/16", "size": 24}],
        "default_address_pools",
        (AddressPool(ipaddress.ip_network("10.10.0.0/16"), 24),),
    ),
    "mtu": (1400, "mtu", 1400),
    "icc": (False, "icc", False),
    "ip": ("127.0.0.1", "publish_address", ipaddress.ip_address("127.0.0.1")),
    "dns": (["1.1.1.1", "::1"], "dns", ("1.1.1.1", "::1")),
    "dns-opts": (["ndots:1"], "dns_options", ("ndots:1",)),
    "dns-search": (["example.com"], "dns_search", ("example.com",)),
    "default-runtime": ("runc", "runtime", "runc"),
    "runtimes": (
        {"mine": {"path": "/opt/runc", "runtimeArgs": ["--debug"]}},
        "runtimes",
        {"mine": RuntimeSetting("/opt/runc", ("--debug",))},
    ),
    "log-driver": ("local", "log_driver", "local"),
    "log-opts": ({"max-size": "10m"}, "log_options", {"max-size": "10m"}),
    "default-ulimits": (
        {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}},
        "default_ulimits",
        (Ulimit(name="nofile", hard=64000, soft=64000),),
    ),
    "default-shm-size": ("128M", "default_shm_size_bytes", 128 * 1024 * 1024),
    "labels": (["a=b"], "labels", ("a=b",)),
    "init": (True, "init", True),
    "init-path": ("/sbin/tini", "init_path", Path("/sbin/tini")),
    "no-new-privileges": (True, "no_new_privileges", True),
    "seccomp-profile": ("/etc/seccomp.json", "seccomp_profile", Path("/etc/seccomp.json")),
    "userns-remap": ("default", "userns_remap", "default"),
    "cdi-spec-dirs": (["/etc/cdi"], "cdi_folders", (Path("/etc/cdi"),)),
    "features": ({"buildkit": True, "cdi": False}, "features", {"buildkit": True, "cdi": False}),
    "max-concurrent-downloads": (5, "max_concurrent_downloads", 5),
    "max-concurrent-uploads": (7, "max_concurrent_uploads", 7),
    "shutdown-timeout": (30, "shutdown_timeout_s", 30),
    "live-restore": (True, "", None),
    "storage-driver": ("overlay2", "", None),
    "exec-opts": (["native.cgroupdriver=cgroupfs"], "", None),
    "experimental": (False, "", None),
    "iptables": (True, "", None),
    "ip-forward": (True, "", None),
    "ip-masq": (True, "", None),
}


def test_every_key_has_an_example_here() -> None:
    assert set(ACCEPTED) == set(KEYS)


@pytest.mark.parametrize("key", ACCEPTED)
def test_every_key_is_taken(key: str, tmp_path: Path) -> None:
    value, name, wanted = ACCEPTED[key]
    settings = read(tmp_path, {key: value})
    if name:
        assert getattr(settings, name) == wanted
        assert changed_fields(EngineConfig(), settings) == {name}
    else:
        assert settings == EngineConfig()


REFUSED: list[tuple[str, Any, str]] = [
    ("hosts", ["/run/x.sock"], "unix:///path, tcp://address:port or fd:// is expected"),
    ("hosts", "unix:///x", "a list is expected"),
    ("hosts", ["unix://x"], "an absolute path is expected after unix://"),
    ("hosts", ["unix:///" + "x" * 107], "at most 107 bytes"),
    ("hosts", [], "at least one host"),
    ("hosts", ["fd://", "fd://"], "a host is named twice"),
    ("hosts", ["tcp://here"], "tcp://address:port is expected"),
    ("hosts", ["tcp://0.0.0.0:70000"], "port"),
    ("group", 5, "a string is expected"),
    ("data-root", "data", "an absolute path is expected"),
    ("log-level", "loud", "one of debug, info, warn, error, fatal is expected"),
    ("debug", "yes", "true or false is expected"),
    ("debug", 1, "true or false is expected"),
    ("registry-mirrors", ["mirror.example"], "a URL without path"),
    ("registry-mirrors", ["https://user@mirror.example"], "a URL without path"),
    ("registry-mirrors", ["https://mirror.example/path"], "a URL without path"),
    ("insecure-registries", ["http://host"], "without a scheme"),
    ("proxies", {"ftp-proxy": "x"}, "unknown key ftp-proxy"),
    ("proxies", "http://p", "an object with"),
    ("bip", "172.20.0.0/16", "172.20.0.0 is not a host's address"),
    ("bip", "172.20.0.1", "with its prefix length"),
    ("bip", "300.0.0.1/8", ""),
    ("bip", "10.0.0.1/31", "with its prefix length"),
    ("default-address-pools", [{"base": "10.10.0.0/16"}], "base and size are expected"),
    ("default-address-pools", [{"base": "10.10.0.0/16", "size": 8}], "a whole number from 16 to 30"),
    ("default-address-pools", [{"base": "10.10.0.1/16", "size": 24}], "has host bits set"),
    ("default-address-pools", [{"base": "fd00::/48", "size": 64}], "IPv6 pools are not supported"),
    ("mtu", 10, "a whole number from 68 to 65535"),
    ("mtu", True, "a whole number"),
    ("mtu", 1.5, "a whole number"),
    ("ip", "localhost", ""),
    ("dns", ["dns.example"], ""),
    ("runtimes", {"x": {"runtimeType": "io.containerd.kata.v2"}}, "runtime x: path is expected"),
    ("runtimes", {"x": {"path": "/x", "options": {}}}, "unknown key options"),
    ("runtimes", [], "an object of runtimes"),
    ("log-driver", "gelf", "one of json-file, local, journald, syslog, none is expected"),
    ("log-opts", {"max-file": 3}, "a string is expected"),
    ("default-ulimits", {"nofile": 5}, "Hard and Soft are expected"),
    ("default-ulimits", {"nofile": {"hard": 5}}, "only Name (nofile), Hard and Soft are expected"),
    ("default-ulimits", {"nofile": {"Name": "nproc", "Hard": 5}}, "only Name (nofile), Hard and Soft are expected"),
    ("default-shm-size", "much", "a size is expected"),
    ("default-shm-size", 0, "a size is expected"),
    ("labels", ["alone"], "key=value is expected"),
    ("max-concurrent-downloads", 0, "from 1 to 100"),
    ("live-restore", False, "containers always live on"),
    ("storage-driver", "btrfs", "only overlay2"),
    ("exec-opts", ["native.cgroupdriver=systemd"], "only native.cgroupdriver=cgroupfs"),
    ("experimental", True, "only false"),
    ("iptables", False, "its own firewall table"),
]


@pytest.mark.parametrize(("key", "value", "reason"), REFUSED)
def test_a_bad_value_is_refused_with_its_place(key: str, value: Any, reason: str, tmp_path: Path) -> None:
    text = '{\n  "debug": true,\n  ' + json.dumps(key) + ": " + json.dumps(value) + "\n}\n"
    if key == "debug":
        text = "{\n\n  " + json.dumps(key) + ": " + json.dumps(value) + "\n}\n"
    message = refusal(tmp_path, text)
    assert message.startswith(f"DIR/daemon.json:3:3: {key} is ")
    assert reason in message


def test_an_unknown_key_is_told_with_its_place_and_the_nearest_one(tmp_path: Path) -> None:
    message = refusal(tmp_path, '{\n  "debug": true,\n    "data-rot": "/x"\n}')
    assert message == "DIR/daemon.json:3:5: unknown key data-rot: did you mean data-root?"


def test_an_unknown_key_that_is_like_no_other_is_just_unknown(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"qqqqq": 1}) == "DIR/daemon.json:1:2: unknown key qqqqq"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{\n  debug: true}", "DIR/daemon.json:2:3: Expecting property name enclosed in double quotes"),
        ("", "DIR/daemon.json:1:1: Expecting value"),
        ("[]", "DIR/daemon.json: an object is expected"),
        ('{"debug": true, "debug": false}', "DIR/daemon.json: key debug stands there twice"),
        ("[" * 100_000, "DIR/daemon.json: "),
    ],
)
def test_a_file_that_is_no_object_is_told_with_its_place(text: str, message: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text).startswith(message)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_bytes(b'{"group": "\xff"}')
    with pytest.raises(ConfigError, match="utf-8"):
        load(["--config-file", str(path)])


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load(["--config-file", str(tmp_path / "none.json")])


def test_the_default_file_may_be_absent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(loading, "DEFAULT_CONFIG_FILE", tmp_path / "none.json")
    assert load([]).config == EngineConfig()


def test_flags_and_file_go_together(tmp_path: Path) -> None:
    settings = read(tmp_path, {"debug": True}, "--data-root", "/srv", "-H", "unix:///a", "--host", "unix:///b")
    assert settings.debug
    assert settings.data_root == Path("/srv")
    assert settings.hosts == ("unix:///a", "unix:///b")


def test_a_setting_in_both_flag_and_file_is_a_conflict_as_dockers(tmp_path: Path) -> None:
    assert refusal(tmp_path, {"log-level": "warn"}, "--log-level", "info") == (
        "the following directives are specified both as a flag and in the configuration file: "
        "log-level: (from flag: info, from file: warn)"
    )
    told = refusal(tmp_path, {"hosts": ["fd://"], "debug": True}, "-H", "unix:///a", "-H", "unix:///b", "-D")
    assert told.endswith(
        "debug: (from flag: true, from file: true), hosts: (from flag: [unix:///a unix:///b], from file: [fd://])"
    )


def test_a_key_of_dockers_that_is_not_there_says_so(tmp_path: Path) -> None:
    for key in DOCKERS:
        assert refusal(tmp_path, {key: 1}) == f"DIR/daemon.json:1:2: {key} is not supported by Portside yet"
    assert not DOCKERS & set(KEYS)


def test_keys_are_found_where_they_stand_and_not_where_others_have_the_same_name() -> None:
    text = """{"proxies": {"debug": 1, "x": ["debug", {"debug": 2}]},
 "labels": ["debug", "a\\\\", "b\\"{"],
   "debug"
   : true}"""
    assert find_keys(text) == {"proxies": "1:2", "labels": "2:2", "debug": "3:4"}


def test_a_bad_flag_names_itself(tmp_path: Path) -> None:
    assert refusal(tmp_path, {}, "--bip", "x").startswith('flag --bip: bip is "x": ')
    assert refusal(tmp_path, {}, "--registry-mirror", "x").startswith("flag --registry-mirror: registry-mirrors is ")
    assert refusal(tmp_path, {}, "-H", "x").startswith("flag --host: hosts is ")


@pytest.mark.parametrize("flags", [["--colour"], ["stray"], ["--group"], ["--data"]])
def test_an_unknown_flag_is_refused(flags: list[str]) -> None:
    with pytest.raises(ConfigError):
        load(flags)


def test_a_pool_can_be_given_as_a_flag(tmp_path: Path) -> None:
    settings = read(tmp_path, {}, "--default-address-pool", "base=10.10.0.0/16,size=24")
    assert settings.default_address_pools == (AddressPool(ipaddress.ip_network("10.10.0.0/16"), 24),)


def test_tcp_without_clients_certificates_is_refused(tmp_path: Path) -> None:
    assert "it needs --tlsverify with --tlscacert" in refusal(tmp_path, {}, "-H", "tcp://0.0.0.0:2375")
    assert "it needs --tlsverify" in refusal(tmp_path, {"tls": True}, "-H", "tcp://127.0.0.1:2376")


def test_tcp_with_tls_needs_its_three_files(tmp_path: Path) -> None:
    flags = ["-H", "tcp://127.0.0.1:2376", "--tlsverify", "--tlscert", str(tmp_path / "c"), "--tlskey", "/k"]
    assert "it needs --tlsverify with --tlscacert" in refusal(tmp_path, {}, *flags)
    assert refusal(tmp_path, {}, *flags, "--tlscacert", str(tmp_path / "ca")) == "DIR/ca: no such file"
    for name in ("c", "k", "ca"):
        (tmp_path / name).touch()
    flags[flags.index("/k")] = str(tmp_path / "k")
    assert read(tmp_path, {}, *flags, "--tlscacert", str(tmp_path / "ca")).tls_ca == tmp_path / "ca"


def test_a_runtime_must_be_known(tmp_path: Path) -> None:
    assert "runtime kata is neither auto, crun or runc" in refusal(tmp_path, {}, "--runtime", "kata")
    assert read(tmp_path, {"runtimes": {"kata": {"path": "/k"}}}, "--runtime", "kata").runtime == "kata"


def test_validate_is_told(tmp_path: Path) -> None:
    assert load(["--validate", "--config-file", str(write(tmp_path, {}))]).validate


def test_kernel_objects_are_named_by_the_data_root() -> None:
    assert instance_name(Path("/var/lib/portside")) == "portside"
    assert EngineConfig().bridge == "portside0"
    other = EngineConfig(data_root=Path("/srv/other"))
    assert other.instance.startswith("portside-")
    assert other.bridge == f"psd-{other.instance.removeprefix('portside-')}"
    assert len(other.bridge) <= 15
    assert other.instance != EngineConfig(data_root=Path("/srv/another")).instance


def test_files_and_programs_that_settings_name_must_be_there(tmp_path: Path) -> None:
    profile = tmp_path / "seccomp.json"
    for settings, reason in (
        (EngineConfig(runtimes={"mine": RuntimeSetting(str(tmp_path / "none"))}), "runtimes: mine: "),
        (EngineConfig(log_options={"max-sise": "1m"}), "log-opts: unknown log opt 'max-sise' for json-file log driver"),
        (EngineConfig(log_options={"max-size": "much"}), "log-opts: invalid size: 'much'"),
        (EngineConfig(init_path=tmp_path / "none"), "init-path: "),
        (EngineConfig(seccomp_profile=profile), "seccomp-profile: "),
    ):
        with pytest.raises(ConfigError, match=f"^{reason}"):
            check_files(settings)
    for text in ("{", "[]", "{}"):
        profile.write_text(text)
        with pytest.raises(ConfigError, match="seccomp-profile: "):
            check_files(EngineConfig(seccomp_profile=profile))
    profile.write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    check_files(EngineConfig(seccomp_profile=profile, runtimes={"mine": RuntimeSetting("/bin/sh")}))
