"""``changes`` of a commit or an import."""

from __future__ import annotations

import msgspec
import pytest
from msgspec import UNSET

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
        (
            ["ENV A=1", "ENV B=$A-${C:-2}", "WORKDIR /$B", "LABEL x=$A"],
            {
                "Env": ["A=1", "B=1-2"],
                "WorkingDir": "/1-2",
                "Labels": {"x": "1"},
            },
        ),
        (["ENV P='80 81'", "EXPOSE $P"], {"Env": ["P=80 81"], "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}}),
        (["CMD a", 'ENTRYPOINT ["b"]'], {"Cmd": ["/bin/sh", "-c", "a"], "Entrypoint": ["b"]}),
        (["# nothing\n\nUSER \\\n  me"], {"User": "me"}),
        (["HEALTHCHECK NONE"], {"Healthcheck": {"Test": ["NONE"]}}),
        (
            ["HEALTHCHECK --interval=5s --retries=3 CMD curl -f x"],
            {"Healthcheck": {"Test": ["CMD-SHELL", "curl -f x"], "Interval": 5_000_000_000, "Retries": 3}},
        ),
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
        ("ENV A", "ENV must have two arguments"),
        ("LABEL a=b c", 'Syntax error - can\'t find = in "c". Must be of the form: name=value'),
        ("EXPOSE 70000", "invalid containerPort: 70000"),
        ("EXPOSE x", "invalid containerPort: x"),
        ("EXPOSE 90-80", "invalid range specified for port: 90-80"),
        ("STOPSIGNAL NONE", "invalid signal: NONE"),
        ("HEALTHCHECK --interval=1x CMD a", 'time: invalid duration "1x"'),
        ("HEALTHCHECK MAYBE a", 'Unknown type "MAYBE" in HEALTHCHECK (try CMD)'),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("WORKDIR ${x", "failed to process"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ("COPY a b", "COPY is not a valid change command"),
    ],
)
def test_broken_instructions_are_refused(change: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        apply_changes(ImageConfig(), [change])
    assert caught.value.message.startswith(message)


def test_an_entrypoint_drops_the_command_before_it() -> None:
    config = ImageConfig(cmd=["old"], entrypoint=["older"])
    apply_changes(config, ['ENTRYPOINT ["new"]'])
    assert (config.entrypoint, config.cmd) == (["new"], UNSET)
