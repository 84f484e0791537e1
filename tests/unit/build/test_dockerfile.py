"""Dockerfiles as text: shapes, checks and error texts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.build.dockerfile.errors import DockerfileError
from engine.build.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    OnBuild,
    Run,
    Shell,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from engine.build.dockerfile.mounts import parse_mount
from engine.build.dockerfile.parse import Dockerfile, parse_dockerfile, parse_trigger

_NO_DESTINATION = "requires at least two arguments, but only one was provided. Destination could not be determined"


def _first(text: str) -> object:
    return parse_dockerfile(f"FROM scratch\n{text}").stages[0].instructions[0]


def _outcome(text: str) -> Dockerfile | DockerfileError:
    try:
        return parse_dockerfile(text)
    except DockerfileError as error:
        return error


def _run(text: str) -> Run:
    found = _first(text)
    assert isinstance(found, Run)
    return found


def test_stages_and_arguments() -> None:
    """ARGs before the first FROM belong to no stage."""
    text = "# syntax=docker/dockerfile:1\nARG V=1\nFROM a:$V AS One\nRUN x\n"
    found = parse_dockerfile(text + "from --platform=linux/arm64 b\nCOPY --from=one /a /b\n")
    assert [item.pairs for item in found.arguments] == [[("V", "1")]]
    assert [(stage.base, stage.name, stage.platform) for stage in found.stages] == [
        ("a:$V", "one", ""),
        ("b", "", "linux/arm64"),
    ]
    assert found.stages[0].code == "FROM a:$V AS One"
    assert found.directives == {"syntax": "docker/dockerfile:1"}
    copy = found.stages[1].instructions[0]
    assert isinstance(copy, Copy)
    assert (copy.origin, copy.sources, copy.destination) == ("one", ["/a"], "/b")


def test_continued_lines_and_comments() -> None:
    """Comments and empty lines within an instruction are left out; its lines are counted."""
    found = parse_dockerfile("FROM a\n\n  # comment\nRUN one \\\n  # within\n\n  two \\  \n three\nRUN four")
    first, second = found.stages[0].instructions
    assert isinstance(first, Run)
    assert first.words == ["one   two  three"]
    assert (first.start_line, first.end_line) == (4, 8)
    assert (second.start_line, second.end_line) == (9, 9)
    assert [notice.rule for notice in found.notices] == ["NoEmptyContinuation"]


def test_escape_directive() -> None:
    """The escape directive changes the continuation mark too."""
    found = parse_dockerfile("# escape=`\nFROM a\nRUN dir `\n C:\\\nRUN x")
    first = found.stages[0].instructions[0]
    assert isinstance(first, Run)
    assert first.words == ["dir  C:\\"]


def test_a_directive_after_a_comment_is_a_comment() -> None:
    """Directives end with the first line that is none."""
    assert parse_dockerfile("# hello\n# escape=x\nFROM a").directives == {}


@pytest.mark.parametrize(
    ("text", "words", "is_shell"),
    [
        ("RUN echo  hi", ["echo  hi"], True),
        ('RUN ["a", "b c"]', ["a", "b c"], False),
        ("RUN ['a']", ["['a']"], True),
        ('RUN [ "a" ] x', ['[ "a" ] x'], True),
        ("RUN []", [], False),
        ("RUN " + "[" * 60000, ["[" * 60000], True),
    ],
)
def test_command_forms(text: str, words: list[str], is_shell: bool) -> None:
    """What is no JSON array goes to the shell."""
    found = _run(text)
    assert (found.words, found.is_shell) == (words, is_shell)


def test_run_heredocs() -> None:
    """Several documents, with and without expansion, tabs taken off where asked for."""
    found = _run('RUN cat <<A 3<<-"B" > x\none\nA\n\ttwo\n\tB\nRUN after')
    assert found.words == ['cat <<A 3<<-"B" > x']
    assert [(item.name, item.data, item.expand, item.chomp) for item in found.files] == [
        ("A", "one\n", True, False),
        ("B", "\ttwo\n", False, True),
    ]
    assert (found.start_line, found.end_line) == (2, 6)


def test_copy_heredocs() -> None:
    """A document is a source of COPY, by its word as file name."""
    found = _first("COPY <<robots.txt <<-'x' a /dst/\nhi $A\nrobots.txt\n\tthere\nx\n")
    assert isinstance(found, Copy)
    assert found.sources == ["a"]
    assert [(item.name, item.data, item.expand) for item in found.files] == [
        ("robots.txt", "hi $A\n", True),
        ("x", "there\n", False),
    ]
    assert found.destination == "/dst/"


def test_transfers() -> None:
    """COPY and ADD with their flags."""
    copy = _first('COPY --chown=a:b --chmod=0644 --link --parents --exclude=*.md --exclude=x --from=0 ["a b", "/c d/"]')
    assert isinstance(copy, Copy)
    assert (copy.chown, copy.chmod, copy.link, copy.parents) == ("a:b", "0644", True, True)
    assert (copy.excludes, copy.origin) == (["*.md", "x"], "0")
    assert (copy.sources, copy.destination) == (["a b"], "/c d/")
    add = _first("ADD --checksum=sha256:ab --keep-git-dir --unpack=false https://x/y /z")
    assert isinstance(add, Add)
    assert (add.checksum, add.keep_git_dir, add.unpack) == ("sha256:ab", True, False)


def test_environment_and_labels() -> None:
    """The old form takes the rest of the line, the new one many pairs; quotes stay for the expansion."""
    env = _first("ENV A=1 B='x y' C=\"q\" D=e\\ f")
    assert isinstance(env, Env)
    assert env.pairs == [("A", "1"), ("B", "'x y'"), ("C", '"q"'), ("D", "e\\ f")]
    old = _first("ENV A  one  two=three")
    assert isinstance(old, Env)
    assert old.pairs == [("A", "one  two=three")]
    label = _first('LABEL "com.x"="a b" y=')
    assert isinstance(label, Label)
    assert label.pairs == [('"com.x"', '"a b"'), ("y", "")]
    arg = _first("ARG A B= C=d")
    assert isinstance(arg, Arg)
    assert arg.pairs == [("A", None), ("B", ""), ("C", "d")]


def test_the_rest() -> None:
    """One of each of the others."""
    expose = _first("EXPOSE 80 53/udp 8000-8002/tcp")
    assert isinstance(expose, Expose)
    assert expose.ports == ["53/udp", "80", "8000-8002/tcp"]
    volume = _first('VOLUME ["/a", "/b c"]')
    assert isinstance(volume, Volume)
    assert volume.places == ["/a", "/b c"]
    health = _first(
        "HEALTHCHECK --interval=5m --timeout=1s --start-period=1m30s --start-interval=1s --retries=2 CMD a b"
    )
    assert isinstance(health, Healthcheck)
    assert health.health.test == ["CMD-SHELL", "a b"]
    assert (health.health.interval, health.health.timeout) == (300 * 10**9, 10**9)
    assert (health.health.start_period, health.health.start_interval, health.health.retries) == (90 * 10**9, 10**9, 2)
    none = _first("HEALTHCHECK none")
    assert isinstance(none, Healthcheck)
    assert none.health.test == ["NONE"]
    shell, user = _first('SHELL ["/bin/bash", "-c"]'), _first("USER a:b")
    assert isinstance(shell, Shell)
    assert shell.words == ["/bin/bash", "-c"]
    assert isinstance(user, User)
    assert user.value == "a:b"
    workdir, signal = _first("WORKDIR a b"), _first("STOPSIGNAL $S")
    assert isinstance(workdir, Workdir)
    assert workdir.value == "a b"
    assert isinstance(signal, StopSignal)
    assert signal.expanded(lambda word: "SIGQUIT").value == "SIGQUIT"
    cmd, entrypoint = _first("CMD x"), _first('ENTRYPOINT ["e"]')
    assert isinstance(cmd, Cmd)
    assert cmd.argv(["sh", "-c"]) == ["sh", "-c", "x"]
    assert isinstance(entrypoint, Entrypoint)
    assert entrypoint.argv(["sh", "-c"]) == ["e"]


def test_onbuild() -> None:
    """A trigger keeps the instruction's text, its documents too."""
    found = _first("ONBUILD RUN cat <<E\nx\nE\n")
    assert isinstance(found, OnBuild)
    assert found.value == "RUN cat <<E\nx\nE"
    trigger = parse_trigger(found.value)
    assert isinstance(trigger, Run)
    assert trigger.files[0].data == "x\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("RUUN x", "unknown instruction: RUUN (did you mean RUN?)"),
        ("comy a b", "unknown instruction: comy (did you mean copy?)"),
        ("WHATEVER", "unknown instruction: WHATEVER"),
        (
            "COPY a",
            "COPY requires at least two arguments, but only one was provided. Destination could not be determined",
        ),
        ("ADD", "ADD requires at least two arguments, but only one was provided. Destination could not be determined"),
        ("COPY --form=x a b", "unknown flag: --form (did you mean from?)"),
        ("COPY --chown a b", "missing a value on flag: --chown"),
        ("COPY --link= a b", "missing a value on flag: --link"),
        ("COPY --link=x a b", "expecting boolean value for flag --link, not: x"),
        ("COPY --from=a --from=b a b", "duplicate flag specified: --from"),
        ("COPY a <<E\nE", "COPY cannot accept a heredoc as a destination"),
        ("ENV", "ENV requires at least one argument"),
        ("ENV A", "ENV must have two arguments"),
        ("ENV A=1 B", 'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
        ("ENV =x", "ENV names can not be blank"),
        ("ARG", "ARG requires at least one argument"),
        ("ARG =x", "ARG names can not be blank"),
        ("LABEL", "LABEL requires at least one argument"),
        ("USER", "USER requires exactly one argument"),
        ("WORKDIR", "WORKDIR requires exactly one argument"),
        ("STOPSIGNAL", "STOPSIGNAL requires exactly one argument"),
        ("MAINTAINER", "MAINTAINER requires exactly one argument"),
        ("EXPOSE", "EXPOSE requires at least one argument"),
        ("VOLUME", "VOLUME requires at least one argument"),
        ('VOLUME [""]', "VOLUME specified can not be an empty string"),
        ("SHELL bash", "SHELL requires the arguments to be in JSON form"),
        ("SHELL []", "SHELL requires at least one argument"),
        ('CMD ["a", 1]', "when using JSON array syntax, arrays must be comprised of strings only"),
        ("HEALTHCHECK", "HEALTHCHECK requires at least one argument"),
        ("HEALTHCHECK NONE x", "HEALTHCHECK NONE takes no arguments"),
        ("HEALTHCHECK CMD", "Missing command after HEALTHCHECK CMD"),
        ("HEALTHCHECK x", 'Unknown type "X" in HEALTHCHECK (try CMD)'),
        ("HEALTHCHECK --interval=x CMD y", 'time: invalid duration "x"'),
        ("HEALTHCHECK --interval=1us CMD y", 'Interval "interval" cannot be less than 1ms'),
        ("HEALTHCHECK --retries=-1 CMD y", "--retries cannot be negative (-1)"),
        ("HEALTHCHECK --retries=x CMD y", 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("ONBUILD", "ONBUILD requires at least one argument"),
        ("ONBUILD ONBUILD RUN x", "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
        ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
        ("FROM", "FROM requires either one or three arguments"),
        ("FROM a as", "FROM requires either one or three arguments"),
        ("FROM a AS 1x", 'invalid name for build stage: "1x", name can\'t start with a number or contain symbols'),
        ("RUN --network=x y", 'invalid network mode "x"'),
        ("RUN --security=x y", 'security "x" is not valid'),
        ("RUN --mount=from=$a,target=/b y", "'from' doesn't support variable expansion, define alias stage instead"),
    ],
)
def test_wrong_instructions(line: str, reason: str) -> None:
    """Every refusal has BuildKit's text and says where it is."""
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(f"FROM scratch\n\n{line}\n")
    message = caught.value.message.removeprefix("dockerfile parse error on line 3: ")
    assert message == reason
    assert caught.value.start_line == 3


@pytest.mark.parametrize(
    ("text", "reason", "line"),
    [
        ("", "file with no instructions", 1),
        ("# only\n\n", "file with no instructions", 2),
        ("RUN x", "no build stage in current context", 1),
        ("FROM a\nRUN <<E\nx", "unterminated heredoc", 2),
        ("# escape=\\\n# escape=\\\nFROM a", "only one escape parser directive can be used", 2),
        ("# escape=x\nFROM a", "invalid escape token 'x' does not match ` or \\", 1),
        ("FROM a\nRUN " + "x" * 70000, "dockerfile line greater than max allowed size of 65535", 2),
    ],
)
def test_wrong_files(text: str, reason: str, line: int) -> None:
    """Files that are none."""
    with pytest.raises(DockerfileError) as caught:
        parse_dockerfile(text)
    assert (caught.value.message, caught.value.start_line) == (reason, line)


def test_mounts() -> None:
    """Every type, with its defaults."""
    cache = parse_mount("type=cache,id=x,target=/c,sharing=locked,mode=0755,uid=1", str)
    assert (cache.type, cache.id, cache.sharing, cache.mode, cache.uid) == ("cache", "x", "locked", 0o755, 1)
    assert cache.read_only is False
    bind = parse_mount('from=one,src=/a,"target=/b,c"', str)
    assert (bind.type, bind.origin, bind.source, bind.target, bind.read_only) == ("bind", "one", "/a", "/b,c", True)
    assert parse_mount("type=bind,target=/b,rw", str).read_only is False
    assert parse_mount("type=tmpfs,target=/t,size=1.5m", str).size == 1572864
    secret = parse_mount("type=secret,id=s,required,env=TOKEN", str)
    assert (secret.required, secret.env) == (True, "TOKEN")
    assert parse_mount("type=ssh,id=$x", lambda word: word.replace("$x", "key")).id == "key"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("type=binf", 'unsupported mount type "binf" (did you mean bind?)'),
        ("typ=bind", "unexpected key 'typ' in 'typ=bind' (did you mean type?)"),
        ("readonl", "invalid field 'readonl' must be a key=value pair"),
        ("type=bind,size=1", "unexpected key 'size' for mount type 'bind'"),
        ("type=tmpfs,size=x", "invalid value for size: x"),
        ("type=cache,mode=9", "invalid value 9 for mode"),
        ("type=cache,sharing=x", 'unsupported sharing value "x"'),
        ("type=bind,mode=1", 'mode not allowed for "bind" type mounts'),
        ("type=secret", "invalid secret mount. one of source, target required"),
        ("type=secret,id=a,src=b", "both source and id can't be set"),
        ("type=bind,sharing=private", "invalid cache sharing set for bind mount"),
        ("type=bind,ro=x", "invalid value for ro: x"),
        ('type=bind,"a', 'failed to parse csv mounts: extraneous or missing " in quoted-field'),
    ],
)
def test_wrong_mounts(text: str, reason: str) -> None:
    """Mounts that mean nothing."""
    with pytest.raises(DockerfileError) as caught:
        parse_mount(text, str)
    assert caught.value.message == reason


_PIECES = st.sampled_from(
    [
        "FROM ", "RUN ", "COPY ", "ADD ", "ENV ", "ARG ", "LABEL ", "HEALTHCHECK ", "ONBUILD ", "SHELL ", "EXPOSE ",
        "VOLUME ", "USER ", "\n", "\n\n", "\\\n", "\\", "`", "# escape=`\n", "# syntax=x\n", "# c\n", "<<EOF", "<<-'E'",
        "EOF\n", "E\n", "[", "]", '"a"', ",", "'", '"', "=", "a=b", "$", "${", "}", ":-", "##", "%", "/", "--from=a ",
        "--mount=type=cache,", "--chmod=1 ", " ", "\t", "\r", "\0", "\ufeff", "ü", "\udcff", "scratch", "AS x", "CMD ",
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.lists(_PIECES, max_size=60).map("".join), st.text(max_size=400)))
def test_any_text_is_a_dockerfile_or_an_error_with_a_line(text: str) -> None:
    """Nothing but a parse or an error that says where: never a traceback."""
    found = _outcome(text)
    if isinstance(found, DockerfileError):
        assert 1 <= found.start_line <= max(1, text.count("\n") + 1)
        assert found.end_line >= found.start_line
    else:
        assert found.stages or found.arguments


@pytest.mark.parametrize(
    "text",
    [
        "FROM a\n" + "RUN x \\\n" * 100_000,
        "FROM a\n" + "ONBUILD " * 8000 + "\n",
        "FROM a\nENV " + "A=b " * 16000 + "\n",
        "FROM a\nRUN " + "<<" * 30000 + "\n",
        "FROM a\nRUN cat " + "<<E " * 10000 + "\n" + "E\n" * 10000,
        "FROM a\n" + "\\\n" * 200_000,
        "FROM a\nCOPY " + "'" * 65000 + " x\n",
        "FROM a\n" + "RUN x\n" * 50_000,
    ],
)
def test_large_texts_take_time_in_proportion(text: str) -> None:
    """Inputs made to be slow are read in processor time that leaves no doubt."""
    began = time.process_time()
    found = _outcome(text)
    assert not isinstance(found, DockerfileError) or found.start_line
    assert time.process_time() - began < 20
