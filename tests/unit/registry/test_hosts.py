"""How registries are reached."""

from __future__ import annotations

import ssl

import pytest

from engine.config import Proxies
from engine.registry.hosts import RegistrySettings, endpoints, is_insecure, proxy_for


@pytest.mark.parametrize(
    ("domain", "insecure", "wanted"),
    [
        ("localhost", (), True),
        ("localhost:5000", (), True),
        ("127.0.0.1:5000", (), True),
        ("127.255.0.1", (), True),
        ("[::1]:5000", (), True),
        ("10.1.2.3:5000", (), False),
        ("10.1.2.3:5000", ("10.0.0.0/8",), True),
        ("10.1.2.3:5000", ("11.0.0.0/8",), False),
        ("10.1.2.3:5000", ("10.1.2.3:5000",), True),
        ("registry.example:5000", ("registry.example:5000",), True),
        ("registry.example:5000", ("registry.example",), True),
        ("registry.example", ("registry.example:5000",), False),
        ("example.com", (), False),
    ],
)
def test_which_registries_need_no_tls(domain: str, insecure: tuple[str, ...], wanted: bool) -> None:
    assert is_insecure(domain, insecure) is wanted


def test_docker_hub_is_behind_its_mirrors() -> None:
    settings = RegistrySettings(mirrors=("http://mirror.example", "https://other.example:8443"), certificate_folders=())
    found = endpoints("docker.io", settings)
    assert [(item.url, item.is_mirror) for item in found] == [
        ("http://mirror.example", True),
        ("https://other.example:8443", True),
        ("https://registry-1.docker.io", False),
    ]
    assert found[0].tls is None
    assert found[2].tls is not None
    assert found[2].tls.verify_mode == ssl.CERT_REQUIRED


def test_others_have_no_mirrors_and_insecure_ones_fall_back_to_plain_http() -> None:
    settings = RegistrySettings(mirrors=("http://mirror.example",), certificate_folders=())
    assert [item.url for item in endpoints("example.com", settings)] == ["https://example.com"]
    secure, plain = endpoints("localhost:5000", settings)
    assert (secure.url, plain.url) == ("https://localhost:5000", "http://localhost:5000")
    assert secure.tls is not None
    assert secure.tls.verify_mode == ssl.CERT_NONE


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def test_proxies_of_the_settings_come_before_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_for("https://example.com/v2/", Proxies()) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://env:3128")
    assert proxy_for("https://example.com/v2/", Proxies()) == "http://env:3128"
    assert proxy_for("http://example.com/v2/", Proxies()) is None
    assert proxy_for("https://example.com/v2/", Proxies(https="set:3128")) == "http://set:3128"


@pytest.mark.parametrize(
    ("host", "exceptions", "is_direct"),
    [
        ("registry.example", "registry.example", True),
        ("registry.example:5000", "registry.example", True),
        ("a.example.com", "example.com", True),
        ("a.example.com", ".example.com", True),
        ("badexample.com", "example.com", False),
        ("other.example", "registry.example, x.y", False),
        ("localhost:5000", "", True),
        ("127.0.0.1:5000", "", True),
        ("anything.example", "*", True),
    ],
)
def test_exceptions_go_directly(host: str, exceptions: str, is_direct: bool) -> None:
    proxies = Proxies(https="http://proxy:3128", no_proxy=exceptions)
    assert (proxy_for(f"https://{host}/v2/", proxies) is None) is is_direct
