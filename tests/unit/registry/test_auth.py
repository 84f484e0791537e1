"""Challenges and credentials."""

from __future__ import annotations

import base64

import pytest

from engine.model.system import AuthConfig
from engine.registry.auth import Token, basic, parse_challenges, user_and_password
from engine.registry.client import RegistryProblem, explain


def test_challenges_are_taken_apart() -> None:
    bearer, plain = parse_challenges(
        ['Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"', "basic Realm=x"]
    )
    assert bearer.scheme == "bearer"
    assert bearer.parameters == {
        "realm": "https://auth.example/token",
        "service": "reg",
        "scope": "repository:a/b:pull,push",
    }
    assert (plain.scheme, plain.parameters) == ("basic", {"realm": "x"})


@pytest.mark.parametrize(
    ("credentials", "wanted"),
    [
        (None, None),
        (AuthConfig(), None),
        (AuthConfig(username="u", password="p"), ("u", "p")),
        (AuthConfig(auth=base64.b64encode(b"u:p:q").decode()), ("u", "p:q")),
        (AuthConfig(auth="not base64!"), None),
        (AuthConfig(auth=base64.b64encode(b"no colon").decode()), None),
        (AuthConfig(identitytoken="t"), None),
    ],
)
def test_user_and_password(credentials: AuthConfig | None, wanted: tuple[str, str] | None) -> None:
    assert user_and_password(credentials) == wanted


def test_basic_is_base64() -> None:
    assert basic("me", "pässword") == "Basic " + base64.b64encode("me:pässword".encode()).decode()


def test_secrets_are_not_shown() -> None:
    assert "p4ss" not in repr(AuthConfig(username="me", password="p4ss", identitytoken="p4ss", registrytoken="p4ss"))


def test_tokens_end() -> None:
    assert not Token("t", 0).is_fresh


@pytest.mark.parametrize(
    ("status", "code", "told", "message"),
    [
        (404, "", "", "manifest for a:1 not found: manifest unknown: manifest unknown"),
        (
            401,
            "",
            "",
            "error pulling a:1: unauthorized: authentication required",
        ),
        (
            403,
            "",
            "",
            "pull access denied for a, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied",
        ),
        (429, "", "", "toomanyrequests: too many requests"),
        (502, "", "", "error pulling a:1: received unexpected HTTP status: 502 Bad Gateway"),
        (500, "UNKNOWN", "disk on fire", "error pulling a:1: unknown: disk on fire"),
    ],
)
def test_answers_without_a_body_are_explained(status: int, code: str, told: str, message: str) -> None:
    assert explain(RegistryProblem(status, code, told), "a:1", "a").message == message
