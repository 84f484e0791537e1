"""Where build arguments are known, and what they are worth there."""

from __future__ import annotations

from engine.build.dockerfile.arguments import BuildArguments, platform_arguments


def test_scopes() -> None:
    """Arguments before the first FROM are for FROM; a stage knows what it declares."""
    arguments = BuildArguments({"GIVEN": "g", "LATE": "l"}, platform_arguments("linux", "amd64"))
    arguments.declare_global("TAG", "1")
    arguments.declare_global("GIVEN", "default")
    values = arguments.global_values()
    assert (values["TAG"], values["GIVEN"], values["TARGETPLATFORM"]) == ("1", "g", "linux/amd64")
    stage = arguments.stage()
    assert stage.values() == {}
    stage.declare("TAG", None)
    stage.declare("GIVEN", None)
    stage.declare("OWN", "o")
    stage.declare("NOTHING", None)
    stage.declare("TARGETARCH", None)
    assert stage.values() == {"TAG": "1", "GIVEN": "g", "OWN": "o", "TARGETARCH": "amd64"}
    assert stage.beside({"OWN": "of the image"}) == {"TAG": "1", "GIVEN": "g", "TARGETARCH": "amd64"}
    assert arguments.unused() == ["LATE"]


def test_proxies_need_no_declaration_and_are_not_shown() -> None:
    """A RUN has the proxies of the request; its history names them only when they are declared."""
    arguments = BuildArguments({"http_proxy": "p", "A": "a", "EMPTY": None})
    stage = arguments.stage()
    stage.declare("A", None)
    stage.declare("EMPTY", "default")
    assert stage.beside({}) == {"A": "a", "EMPTY": "default", "http_proxy": "p"}
    assert stage.shown({}) == ["A=a", "EMPTY=default"]
    stage.declare("http_proxy", None)
    assert stage.shown({}) == ["A=a", "EMPTY=default", "http_proxy=p"]
