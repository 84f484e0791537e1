"""The tree of commands holds together, and wrong words get Docker's answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.command import command_help
from engine.cli.commands import COMMANDS, GROUPS, LATER, LATER_IN_GROUPS, SHORTCUTS, SUB_ALIASES
from engine.cli.completion import SCRIPTS
from engine.cli.main import load_command, run

RESOURCES = Path(__file__).parents[3] / "resources" / "completion"


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_loads_with_its_summary_and_distinct_flags(path: str) -> None:
    command = load_command(path)
    assert command.summary.startswith(COMMANDS[path].summary)
    for names in ([flag.name for flag in command.flags], [flag.short for flag in command.flags if flag.short]):
        assert len(names) == len(set(names))
    assert command_help(command, path, 80).startswith(f"Usage:  portside {path} ")


def test_aliases_and_groups_lead_somewhere_and_later_ones_are_not_here_yet() -> None:
    assert set(SUB_ALIASES.values()) <= set(COMMANDS)
    assert {path.split(" ")[0] for path in COMMANDS if " " in path} == set(GROUPS)
    known = set(SHORTCUTS) | set(GROUPS) | {path for path in COMMANDS if " " not in path}
    assert not known & LATER
    assert not {f"{group} {word}" for group, words in LATER_IN_GROUPS.items() for word in words} & set(COMMANDS)


def test_the_scripts_that_installers_copy_are_the_ones_that_the_command_prints() -> None:
    for shell, name in {"bash": "portside.bash", "zsh": "_portside", "fish": "portside.fish"}.items():
        assert (RESOURCES / name).read_text(encoding="utf-8") == SCRIPTS[shell]


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["psx"], 1, "portside: unknown command: portside psx\n\nDid you mean this?\n\tps\n"),
        (["container", "foo"], 1, "portside: unknown command: portside container foo\n\nUsage:  portside container\n"),
        (["buildx", "."], 1, "portside: 'portside buildx' is not supported yet\n"),
        (["system", "dial-stdio"], 1, "portside: 'portside system dial-stdio' is not supported yet\n"),
        (["--nope"], 125, "unknown flag: --nope\n"),
        (["ps", "--nope"], 125, "unknown flag: --nope\n\nUsage:  portside ps [OPTIONS]\n"),
        (["rm"], 1, "portside: 'portside rm' requires at least 1 argument\n\nUsage:  portside rm [OPTIONS] CONTAINER"),
        (["ps", "x"], 1, "portside: 'portside ps' accepts no arguments\n"),
        (["rename", "a"], 1, "portside: 'portside rename' requires 2 arguments\n"),
        (["--context", "x", "ps"], 1, "portside: contexts are not supported yet"),
        (["-H", "ssh://x", "ps"], 1, "ssh:// is not supported yet: ssh://x\nHint: use unix://"),
        (["run", "-p", "abc", "busybox"], 125, "portside: invalid containerPort: abc\n\nRun 'portside run --help'"),
    ],
)
def test_wrong_words_get_dockers_answers(
    words: list[str], code: int, text: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(words, {"HOME": str(tmp_path)}) == code
    assert capfd.readouterr().err.startswith(text)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "Usage:  portside [OPTIONS] COMMAND"),
        (["--help"], "Usage:  portside [OPTIONS] COMMAND"),
        (["help", "run"], "Usage:  portside run [OPTIONS] IMAGE [COMMAND] [ARG...]"),
        (["container", "ls", "--help"], "Usage:  portside container ls [OPTIONS]"),
        (["network", "--help"], "Usage:  portside network COMMAND"),
        (["--version"], "Portside version "),
    ],
)
def test_help_is_there(words: list[str], text: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words, {}) == 0
    assert capfd.readouterr().out.startswith(text)
