"""``portside volume`` next to the stock docker command line on the same engine."""

from __future__ import annotations

import pytest

from tests.engine_process import DOCKER, EngineProcess
from tests.integration.test_cli_cp import run


def both(engine: EngineProcess, *words: str) -> tuple[tuple[int, str, str], tuple[int, str, str]]:
    """Return exit code, output and error of docker's command and of ours, which has a way out behind."""
    outcomes = []
    for program in ((DOCKER,), None):
        done = run(engine, *words, program=program) if program else run(engine, *words)
        error = done.stderr.decode().partition("Hint: ")[0].replace("portside", "docker")
        outcomes.append((done.returncode, done.stdout.decode(), error))
    return outcomes[0], outcomes[1]


@pytest.fixture(scope="module", autouse=True)
def volumes(engine: EngineProcess) -> None:
    engine.docker("volume", "create", "--label", "a=b", "one")
    engine.docker("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "two")
    engine.docker("create", "--name", "user", "-v", "one:/one", "busybox", "true")


@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["ls", "-q"],
        ["ls", "--filter", "dangling=true"],
        ["ls", "--filter", "label=a=b", "--format", '{{.Name}} {{.Label "a"}} {{.Mountpoint}}'],
        ["ls", "--format", "json"],
        ["ls", "--filter", "colour=red"],
        ["inspect", "one", "two"],
        ["inspect", "one", "none"],
        ["inspect", "--format", "{{.Options}}", "two"],
        ["rm", "one"],
        ["rm", "none"],
        ["rm", "-f", "none"],
        ["create", "a"],
        ["create", "a/b"],
        ["create", "-d", "nope", "xx"],
        ["create", "-o", "foo=bar", "xx"],
        ["create", "-o", "size=10m", "xx"],
        ["create", "--name", "xx", "yy"],
        ["create", "one"],
        ["prune", "-f", "--filter", "label=none"],
    ],
)
def test_as_docker_does_it(engine: EngineProcess, words: list[str]) -> None:
    docker, ours = both(engine, "volume", *words)
    assert ours == docker


def test_update(engine: EngineProcess) -> None:
    done = run(engine, "volume", "update", "one")
    assert (done.returncode, done.stderr) == (1, b"can only update cluster volumes\n")
    done = run(engine, "volume", "update", "none")
    assert done.stderr.startswith(b"Error response from daemon: get none: no such volume\n")
    done = run(engine, "volume", "create", "--scope", "multi", "xx")
    assert done.stderr.startswith(b"cluster volumes are not supported\n")


def test_completion(engine: EngineProcess) -> None:
    for words, wanted in (
        (["volume", "rm", "o"], "one"),
        (["volume", "update", "t"], "two"),
        (["volume", "u"], "update"),
        (["cp", "us"], "user"),
        (["cp", "--fol"], "--follow-link"),
        (["container", "c"], "cp"),
    ):
        assert wanted in run(engine, "__complete", *words).stdout.decode().split(), words
