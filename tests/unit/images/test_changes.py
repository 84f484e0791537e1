"""``changes`` of an import."""

from __future__ import annotations

import msgspec
import pytest

from engine.errors import InvalidArgument
from engine.images.changes import apply_changes
from engine.model.image import ImageConfig


@pytest.mark.parametrize(
    ("changes", "config"),
    [
        (['CMD ["a", "b c"]'], {"Cmd": ["a", "b c"]}),
        (["cmd echo hi"], {"Cmd": ["/bin/sh", "-c", "echo hi"]}),
        (['ENTRYPOINT ["/x"]'], {"Entrypoint": ["/x"]}),
        (["ENV A=1 B='2 3'", "ENV A=4"], {"Env": ["A=4", "B=2 3"]}),
        (["ENV A the rest"], {"Env": ["A=the rest"]}),
        (
            ["EXPOSE 80 53/udp 90-92"],
            {"ExposedPorts": {p: {} for p in ("80/tcp", "53/udp", "90/tcp", "91/tcp", "92/tcp")}},
        ),
        (['LABEL a="b c" d=e'], {"Labels": {"a": "b c", "d": "e"}}),
        (['VOLUME ["/a"]', "VOLUME /b /c"], {"Volumes": {"/a": {}, "/b": {}, "/c": {}}}),
        (["WORKDIR /a", "WORKDIR b"], {"WorkingDir": "/a/b"}),
        (["USER me:grp"], {"User": "me:grp"}),
        (["STOPSIGNAL SIGINT"], {"StopSignal": "SIGINT"}),
        (["ONBUILD RUN x"], {"OnBuild": ["RUN x"]}),
    ],
)
def test_instructions_change_the_configuration(changes: list[str], config: dict[str, object]) -> None:
    changed = ImageConfig()
    apply_changes(changed, changes)
    assert msgspec.to_builtins(changed) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("RUN x", "RUN is not a valid change command"),
        ("FROM x", "FROM is not a valid change command"),
        ("CMD", "CMD requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("LABEL a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE x", "invalid containerPort: x"),
    ],
)
def test_broken_instructions_are_refused(change: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        apply_changes(ImageConfig(), [change])
    assert caught.value.message == message
