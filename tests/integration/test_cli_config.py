"""The configuration file and credential helpers, on real files and processes."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from engine.cli.configfile import hostname_of, load_config
from engine.cli.failures import CommandError
from engine.model.system import AuthConfig

HELPER = """#!/bin/sh
store="$(dirname "$0")/store"
case "$1" in
store) cat > "$store" ;;
get) read -r url; [ -s "$store" ] || { echo "credentials not found in native keychain"; exit 1; }; cat "$store" ;;
erase) rm -f "$store" ;;
*) echo "broken: $1"; exit 1 ;;
esac
"""


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "docker-credential-fake"
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "store"


def test_without_a_helper_credentials_are_in_a_private_file_and_other_settings_stay(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"psFormat": "{{.ID}}", "unknown": [1]}')
    config = load_config(str(tmp_path))
    assert config.store(AuthConfig(username="u", password="p:w", serveraddress="r.example"))
    assert not config.store(AuthConfig(username="u", password="p:w", serveraddress="r.example")), "nothing is new"
    assert stat.S_IMODE((tmp_path / "config.json").stat().st_mode) == 0o600
    read = load_config(str(tmp_path))
    assert (read.text("psFormat"), json.loads((tmp_path / "config.json").read_text())["unknown"]) == ("{{.ID}}", [1])
    found = read.credentials("r.example")
    assert found is not None
    assert (found.username, found.password, found.serveraddress) == ("u", "p:w", "r.example")
    read.erase("r.example")
    assert load_config(str(tmp_path)).credentials("r.example") is None


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "real.json"
    target.write_text("{}")
    (tmp_path / "config.json").symlink_to(target)
    load_config(str(tmp_path)).store(AuthConfig(username="u", password="p", serveraddress="r"))
    assert (tmp_path / "config.json").is_symlink()
    assert "auths" in json.loads(target.read_text())


@pytest.mark.parametrize("setting", [{"credsStore": "fake"}, {"credHelpers": {"r.example": "fake"}}])
def test_a_helper_keeps_the_secret_and_the_file_does_not(
    tmp_path: Path, helper: Path, setting: dict[str, object]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(setting))
    config = load_config(str(tmp_path))
    assert config.credentials("r.example") is None
    assert not config.store(AuthConfig(username="u", password="secret", serveraddress="r.example"))
    assert "secret" not in (tmp_path / "config.json").read_text()
    assert json.loads(helper.read_text()) == {"ServerURL": "r.example", "Username": "u", "Secret": "secret"}
    found = config.credentials("r.example")
    assert found is not None
    assert (found.username, found.password) == ("u", "secret")
    config.erase("r.example")
    assert not helper.exists()


def test_an_identity_token_is_kept_as_one(tmp_path: Path, helper: Path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "fake"}')
    config = load_config(str(tmp_path))
    config.store(AuthConfig(username="u", identitytoken="tok", serveraddress="r"))
    assert json.loads(helper.read_text())["Username"] == "<token>"
    found = config.credentials("r")
    assert found is not None
    assert (found.username, found.identitytoken) == ("", "tok")


def test_a_missing_helper_is_named_and_the_secret_is_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"credsStore": "nowhere"}')
    with pytest.raises(CommandError, match="docker-credential-nowhere") as caught:
        load_config(str(tmp_path)).store(AuthConfig(username="u", password="secret", serveraddress="r"))
    assert "secret" not in f"{caught.value.message}{caught.value.hint}{caught.value!r}{caught.value.__context__!r}"


def test_broken_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CommandError, match="Error loading config file"):
        load_config(str(tmp_path))


def test_proxies_are_given_in_both_spellings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://p", "noProxy": "a,b"}}}')
    proxies = load_config(str(tmp_path)).proxy_environment("unix:///x")
    assert proxies == {"HTTP_PROXY": "http://p", "http_proxy": "http://p", "NO_PROXY": "a,b", "no_proxy": "a,b"}


def test_credentials_come_from_the_environment_first(tmp_path: Path) -> None:
    auths = '{"auths": {"r": {"auth": "dTpw"}}}'
    found = load_config(str(tmp_path), auths).credentials("r")
    assert found is not None
    assert (found.username, found.password) == ("u", "p")


def test_addresses_are_reduced_to_their_host() -> None:
    assert hostname_of("https://r.example:5000/v2/") == "r.example:5000"
