"""What the Image operations read out of headers and queries."""

from __future__ import annotations

import base64

import pytest

from engine.errors import InvalidArgument
from engine.server.images import check_platform, decode_platform
from engine.server.registryauth import decode_auth

LOGIN = b'{"username":"me","password":"p?>~","serveraddress":"example.com"}'


@pytest.mark.parametrize(
    "header",
    [
        base64.urlsafe_b64encode(LOGIN).decode(),
        base64.b64encode(LOGIN).decode(),
        base64.urlsafe_b64encode(LOGIN).decode().rstrip("="),
    ],
)
def test_credentials_in_all_their_encodings(header: str) -> None:
    found = decode_auth(header)
    assert found is not None
    assert (found.username, found.password, found.serveraddress) == ("me", "p?>~", "example.com")


@pytest.mark.parametrize("header", ["", "bnVsbA==", "!!!", "a", base64.b64encode(b"[1]").decode(), "e30x"])
def test_credentials_that_are_none(header: str) -> None:
    assert decode_auth(header) is None


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("", ""),
        ('{"os":"linux","architecture":"arm64"}', "linux/arm64"),
        ('{"os":"linux","architecture":"arm","variant":"v7"}', "linux/arm/v7"),
    ],
)
def test_platforms_as_json(text: str, platform: str) -> None:
    assert decode_platform(text) == platform


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("linux/amd64", "failed to parse platform"),
        ('{"os":"linux"}', "both OS and Architecture must be provided"),
        ('{"os":5}', "failed to parse platform"),
    ],
)
def test_broken_platforms_as_json(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        decode_platform(text)


@pytest.mark.parametrize("text", ["", "linux", "amd64", "linux/arm64", "linux/arm/v7"])
def test_platforms_as_text(text: str) -> None:
    check_platform(text)


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "linux/a b", "/"])
def test_broken_platforms_as_text(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid component"):
        check_platform(text)
