"""What a pull decides before it moves bytes."""

from __future__ import annotations

import pytest

from engine.errors import InvalidArgument, NotFound
from engine.images.listing import matches
from engine.images.manifests import Descriptor, check_media_type, choose_platform
from engine.images.progress import progress_bar
from engine.images.removal import going_with, is_single
from engine.wire.references import Reference, parse_reference


def offered(*platforms: str) -> list[Descriptor]:
    """Return an index's entries for ``os/architecture[/variant]``, named by their place; "" says nothing."""
    found = []
    for number, text in enumerate(platforms):
        parts = dict(zip(("os", "architecture", "variant"), text.split("/"), strict=False)) if text else None
        found.append(Descriptor(digest=str(number), platform=parts))
    return found


@pytest.mark.parametrize(
    ("platforms", "wanted", "chosen"),
    [
        (("linux/arm64/v8", "linux/amd64"), "linux/amd64", "1"),
        (("windows/amd64", "linux/amd64"), "linux/amd64", "1"),
        (("linux/arm/v6", "linux/arm/v7"), "linux/arm", "1"),
        (("linux/arm/v6", "linux/arm/v7"), "linux/arm/v6", "0"),
        (("linux/arm64/v8",), "linux/arm64", "0"),
        (("linux/amd64",), "linux/x86_64", "0"),
        (("unknown/unknown", "linux/amd64"), "linux/amd64", "1"),
        (("", "linux/amd64"), "linux/amd64", "1"),
        (("",), "linux/amd64", "0"),
    ],
)
def test_the_platform_is_chosen(platforms: tuple[str, ...], wanted: str, chosen: str) -> None:
    assert choose_platform(offered(*platforms), wanted).digest == chosen


def test_no_platform_fits() -> None:
    with pytest.raises(NotFound) as caught:
        choose_platform(offered("linux/amd64"), "linux/arm64")
    assert caught.value.message == "no matching manifest for linux/arm64 in the manifest list entries"


@pytest.mark.parametrize(
    ("current", "total", "bar"),
    [
        (0, 1000, "[>" + " " * 50 + "]       0B/1kB"),
        (500, 1000, "[" + "=" * 25 + ">" + " " * 25 + "]     500B/1kB"),
        (123_456_789, 123_456_789, "[" + "=" * 50 + ">]  123.5MB/123.5MB"),
    ],
)
def test_the_bar_is_dockers(current: int, total: int, bar: str) -> None:
    assert progress_bar(current, total) == bar


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "",
    ],
)
def test_media_types_of_images(kind: str) -> None:
    check_media_type(kind)


@pytest.mark.parametrize("kind", ["application/vnd.cncf.helm.config.v1+json", "application/vnd.oci.images_are_fun"])
def test_media_types_of_other_things(kind: str) -> None:
    with pytest.raises(InvalidArgument, match=f"unsupported media type {kind}".replace("+", r"\+")):
        check_media_type(kind)


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("busybox:1.36", "busybox", True),
        ("busybox:1.36", "busybox:*", True),
        ("busybox:1.36", "busy*", True),
        ("busybox:1.36", "*box:1.[0-9]6", True),
        ("busybox:1.36", "*box:1.[^3]6", False),
        ("busybox:1.36", "docker.io/library/busybox", False),
        ("a/busybox:1", "busybox", False),
        ("a/busybox:1", "*", False),
        ("a/busybox:1", "*/*", True),
        ("example.com/a/b:1", "example.com/*/b", True),
    ],
)
def test_the_reference_filter_is_gos_path_match(name: str, pattern: str, fits: bool) -> None:
    assert matches(parse_reference(name), pattern) is fits


DIGEST = "sha256:" + "ab" * 32


def refs(*names: str) -> list[Reference]:
    """Parse names."""
    return [parse_reference(name) for name in names]


@pytest.mark.parametrize(
    ("names", "single"),
    [
        ((), False),
        (("a:1",), True),
        ((f"a@{DIGEST}",), True),
        (("a:1", f"a@{DIGEST}"), True),
        (("a:1", "a:2"), False),
        (("a:1", f"b@{DIGEST}"), False),
        ((f"a@{DIGEST}", f"b@{DIGEST}"), False),
    ],
)
def test_one_repository_with_at_most_one_tag(names: tuple[str, ...], single: bool) -> None:
    assert is_single(refs(*names)) is single


@pytest.mark.parametrize(
    ("names", "taken", "gone"),
    [
        (("a:1", "a:2", f"a@{DIGEST}"), "a:1", ["a:1"]),
        (("a:1", "b:1", f"a@{DIGEST}", f"b@{DIGEST}"), "a:1", ["a:1", f"a@{DIGEST}"]),
        (("a:1", f"a@{DIGEST}"), f"a@{DIGEST}", [f"a@{DIGEST}"]),
    ],
)
def test_digests_go_with_the_last_tag(names: tuple[str, ...], taken: str, gone: list[str]) -> None:
    assert [item.familiar for item in going_with(refs(*names), parse_reference(taken))] == gone
