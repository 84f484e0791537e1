"""Credentials in headers."""

from __future__ import annotations

import base64
import json

import pytest

from engine.model.system import AuthConfig
from engine.server.registryauth import decode_auth, decode_auth_map

LOGIN = {"username": "me", "password": "ÿþ?>~ü"}
WANTED = AuthConfig(username="me", password="ÿþ?>~ü")


def _raw(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("padding", ["", "=", "==", "==="])
@pytest.mark.parametrize("more", ["", "x", "xx"])
def test_any_base64_is_read(encode: object, padding: str, more: str) -> None:
    assert callable(encode)
    text = encode(_raw({**LOGIN, "email": more})).decode().rstrip("=") + padding
    assert decode_auth(text) == AuthConfig(username="me", password="ÿþ?>~ü", email=more)


@pytest.mark.parametrize(
    "value",
    [
        {"Username": "me", "PASSWORD": "ÿþ?>~ü"},
        {**LOGIN, "auth": None, "unknown": [1]},
        {**LOGIN, "email": 5},
    ],
)
def test_fields_are_read_as_go_reads_them(value: dict[str, object]) -> None:
    assert decode_auth(base64.urlsafe_b64encode(_raw(value)).decode()) == WANTED


@pytest.mark.parametrize("field", ["identitytoken", "registrytoken", "auth", "serveraddress"])
def test_each_kind_of_credential(field: str) -> None:
    found = decode_auth(base64.urlsafe_b64encode(_raw({field: "abc"})).decode())
    assert found is not None
    assert getattr(found, field) == "abc"


@pytest.mark.parametrize(
    "header", ["", " ", "null", "bnVsbA==", "e30=", "e30", "!!!", "W10=", "IngiCg==", "ÿ", "=", "a"]
)
def test_what_says_nothing_is_nothing(header: str) -> None:
    assert decode_auth(header) is None


def test_credentials_by_registry() -> None:
    value = {"a.example": LOGIN, "b.example": {}, "c.example": None, "d.example": {"identitytoken": "t"}}
    text = base64.urlsafe_b64encode(_raw(value)).decode()
    assert decode_auth_map(text) == {"a.example": WANTED, "d.example": AuthConfig(identitytoken="t")}
    assert decode_auth_map("") == decode_auth_map("bnVsbA") == decode_auth_map("?") == {}
