"""What /info says to clients of old versions, and what it hides."""

from __future__ import annotations

from typing import Any

import pytest

from engine.config import EngineConfig, Proxies
from engine.server.info import _adapt, _masked, _proxies, _registry_config


def adapted(version: tuple[int, int]) -> dict[str, Any]:
    """Return a small answer for a version."""
    info: dict[str, Any] = {
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=apparmor"],
        "RegistryConfig": {},
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": "1.2"},
        "InitCommit": {"ID": ""},
    }
    _adapt(info, version)
    return info


def test_the_first_version_knows_only_names_of_security_options() -> None:
    assert adapted((1, 24))["SecurityOptions"] == ["seccomp", "apparmor"]
    assert adapted((1, 25))["SecurityOptions"] == ["name=seccomp,profile=builtin", "name=apparmor"]


@pytest.mark.parametrize(
    ("field", "first", "last"),
    [("FirewallBackend", (1, 49), (1, 51)), ("BridgeNfIptables", (1, 24), (1, 49))],
)
def test_fields_come_and_go(field: str, first: tuple[int, int], last: tuple[int, int]) -> None:
    for minor in range(24, 52):
        assert (field in adapted((1, minor))) is (first <= (1, minor) <= last)


def test_expected_commits_went_with_1_49() -> None:
    assert adapted((1, 48))["RuncCommit"] == {"ID": "1.2", "Expected": "1.2"}
    assert adapted((1, 49))["RuncCommit"] == {"ID": "1.2"}


def test_a_proxys_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert _masked("http://user:secret@proxy:3128/") == "http://xxxxx:xxxxx@proxy:3128/"
    assert _masked("http://proxy:3128") == "http://proxy:3128"
    found = _proxies(EngineConfig(proxies=Proxies("http://u:p@proxy", "", "local")))
    assert found == {"HttpProxy": "http://xxxxx:xxxxx@proxy", "HttpsProxy": "", "NoProxy": "local"}


def test_registries_are_told_as_docker_tells_them() -> None:
    config = EngineConfig(registry_mirrors=("https://m.example",), insecure_registries=("10.0.0.0/8", "host:5000"))
    found = _registry_config(config)
    assert found["Mirrors"] == ["https://m.example/"]
    assert "10.0.0.0/8" in found["InsecureRegistryCIDRs"]
    assert found["IndexConfigs"]["host:5000"] == {
        "Name": "host:5000",
        "Mirrors": [],
        "Secure": False,
        "Official": False,
    }
    assert found["IndexConfigs"]["docker.io"]["Secure"] is True
