"""Names of images, held against what distribution/reference makes of them."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument
from engine.wire.references import familiar_name, is_image_id, parse_reference

DIGEST = "sha256:" + "7cc4b5ae" * 8


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/a/b:1", "docker.io/a/b:1", "a/b:1"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("grafana/loki", "docker.io/grafana/loki", "grafana/loki"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:v1", "localhost:5000/app:v1", "localhost:5000/app:v1"),
        ("localhost", "docker.io/library/localhost", "localhost"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("host:5000/app", "host:5000/app", "host:5000/app"),
        ("example.com/app", "example.com/app", "example.com/app"),
        ("Upper/app", "Upper/app", "Upper/app"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("127.0.0.1:5000/a/b/c:T-1.x_", "127.0.0.1:5000/a/b/c:T-1.x_", "127.0.0.1:5000/a/b/c:T-1.x_"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"docker.io/library/busybox:1@{DIGEST}", f"busybox:1@{DIGEST}"),
        ("a--b__c.d_e", "docker.io/library/a--b__c.d_e", "a--b__c.d_e"),
        ("a" * 128 + "/" + "b" * 126, "docker.io/" + "a" * 128 + "/" + "b" * 126, "a" * 128 + "/" + "b" * 126),
    ],
)
def test_names_are_completed_and_shortened(text: str, full: str, familiar: str) -> None:
    reference = parse_reference(text)
    assert reference.full == full
    assert reference.familiar == familiar
    assert parse_reference(full) == reference


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("busybox:", "invalid reference format"),
        ("busybox@", "invalid reference format"),
        ("busybox:a:b", "invalid reference format"),
        ("busy box", "invalid reference format"),
        ("-busybox", "invalid reference format"),
        ("busybox-", "invalid reference format"),
        ("a..b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("/a", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("https://example.com/a", "invalid reference format"),
        ("busybox:-tag", "invalid reference format"),
        ("busybox:" + "t" * 129, "invalid reference format"),
        ("busybox\n", "invalid reference format"),
        ("bücher", "invalid reference format"),
        ("busybox@sha256:abc", "invalid reference format"),
        (f"busybox@{DIGEST[:-1]}", "invalid checksum digest length"),
        (f"busybox@{DIGEST.replace('sha256', 'md5')}", "unsupported digest algorithm"),
        ("Busybox", "invalid reference format: repository name (library/Busybox) must be lowercase"),
        ("host:5000/App:Tag", "invalid reference format: repository name (App) must be lowercase"),
        ("a" * 64, f"invalid repository name ({'a' * 64}), cannot specify 64-byte hexadecimal strings"),
        ("a/" + "b" * 254, "repository name must not be more than 255 characters"),
    ],
)
def test_malformed_names_are_refused_with_distributions_texts(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_reference(text)
    assert caught.value.message == message


def test_tags_are_added_and_replaced() -> None:
    plain = parse_reference("busybox")
    assert plain.with_default_tag().tag == "latest"
    assert parse_reference(f"busybox@{DIGEST}").with_default_tag().tag == ""
    assert parse_reference("busybox:1").with_tag("2").familiar == "busybox:2"
    assert parse_reference("busybox:1").with_digest(DIGEST).familiar == f"busybox@{DIGEST}"
    with pytest.raises(InvalidArgument, match="invalid tag format"):
        plain.with_tag("no/slash")


def test_ids_are_told_from_names() -> None:
    assert is_image_id("a" * 64)
    assert is_image_id(DIGEST)
    assert not is_image_id("a" * 63)
    assert not is_image_id("sha512:" + "a" * 64)


def test_familiar_name_leaves_alone_what_is_no_name() -> None:
    assert familiar_name("docker.io/library/busybox:1") == "busybox"
    assert familiar_name("NOT A NAME") == "NOT A NAME"
