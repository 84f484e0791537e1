"""Indexes and the descriptors in them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.errors import InvalidArgument
from engine.images.records import decode_file
from engine.images.variants import attested_by, blobs_of, index_items, is_attestation, matches_platform, platform_of

ONE, TWO = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
ATTESTATION: dict[str, Any] = {
    "digest": TWO,
    "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": ONE},
}


def test_an_index_keeps_fields_that_nobody_knows() -> None:
    item = {"digest": ONE, "artifactType": "x/y", "platform": {"os": "linux", "os.features": ["z"]}}
    assert index_items(json.dumps({"manifests": [item]}).encode()) == [item]


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"manifests": 5}', b'{"manifests": [1]}', b"{}", b"[" * 100_000])
def test_what_is_no_index_has_no_items(data: bytes) -> None:
    assert index_items(data) == []
    assert blobs_of(data) == []


def test_attestations_are_found_by_what_they_are_about() -> None:
    items: list[dict[str, Any]] = [{"digest": ONE}, ATTESTATION]
    assert [is_attestation(item) for item in items] == [False, True]
    assert attested_by(items, [ONE]) == [TWO]
    assert attested_by(items, [TWO]) == []


def test_an_attestation_may_not_name_a_path() -> None:
    with pytest.raises(InvalidArgument):
        attested_by([{**ATTESTATION, "digest": "sha256:../../x"}], [ONE])


@pytest.mark.parametrize(
    ("platform", "fits"),
    [
        ("linux/arm64", True),
        ("linux/arm64/v8", True),
        ("linux/arm64/v9", False),
        ("linux/aarch64", True),
        ("linux/amd64", False),
        ("windows/arm64", False),
        ("arm64", True),
        ("linux", True),
    ],
)
def test_platforms_that_fit(platform: str, fits: bool) -> None:
    file = decode_file(b'{"os": "linux", "architecture": "arm64", "variant": "v8"}')
    assert matches_platform(file, platform) is fits
    assert platform_of(file) == {"os": "linux", "architecture": "arm64", "variant": "v8"}
