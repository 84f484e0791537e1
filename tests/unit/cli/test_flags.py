"""Command lines read as pflag reads them, its error texts included."""

from __future__ import annotations

import pytest

from engine.cli.flags import Flag, FlagError, HelpWanted, parse_flags

FLAGS = (
    Flag("interactive", "i"),
    Flag("tty", "t"),
    Flag("rm"),
    Flag("publish", "p", "list"),
    Flag("name", kind="string"),
    Flag("memory", "m", "bytes"),
    Flag("retries", kind="int"),
    Flag("net", kind="list", alias_of="network"),
    Flag("network", kind="list"),
    Flag("sig-proxy", default=True),
    Flag("interval", kind="duration"),
    Flag("filter", "f", "filter"),
)


def test_short_flags_join_and_take_values_in_every_spelling() -> None:
    parsed = parse_flags(FLAGS, ["-itp80:80", "-p=81", "-p", "82", "-t=false", "-m1g"])
    assert parsed.on("interactive")
    assert not parsed.on("tty")
    assert parsed.items("publish") == ["80:80", "81", "82"]
    assert parsed.number("memory") == 2**30


def test_flags_stop_at_the_first_argument_where_they_must() -> None:
    words = ["--rm", "busybox", "ls", "-t", "--", "x"]
    parsed = parse_flags(FLAGS, words, interspersed=False)
    assert parsed.args == ["busybox", "ls", "-t", "--", "x"]
    assert not parsed.on("tty")
    assert parse_flags(FLAGS, words).args == ["busybox", "ls", "x"]


def test_double_dash_ends_the_flags_and_a_lone_dash_is_an_argument() -> None:
    assert parse_flags(FLAGS, ["-", "--", "--rm"]).args == ["-", "--rm"]


def test_booleans_take_values_only_after_an_equals_sign() -> None:
    parsed = parse_flags(FLAGS, ["--rm", "false", "--sig-proxy=0"])
    assert parsed.on("rm")
    assert not parsed.on("sig-proxy")
    assert parsed.args == ["false"]


def test_a_value_may_begin_with_a_dash() -> None:
    assert parse_flags(FLAGS, ["--name", "-x"]).text("name") == "-x"


def test_aliases_add_to_the_same_list_and_say_what_was_given() -> None:
    parsed = parse_flags(FLAGS, ["--net", "a", "--network=b"])
    assert parsed.items("network") == ["a", "b"]
    assert parsed.is_set("network")
    assert not parsed.is_set("name")


def test_values_of_one_command_line_do_not_reach_the_next() -> None:
    parse_flags(FLAGS, ["-p", "1"])
    assert parse_flags(FLAGS, []).items("publish") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--nope"], "unknown flag: --nope"),
        (["-iz"], "unknown shorthand flag: 'z' in -iz"),
        (["--name"], "flag needs an argument: --name"),
        (["-ip"], "flag needs an argument: 'p' in -ip"),
        (["--=x"], "bad flag syntax: --=x"),
        (["--rm=x"], 'invalid argument "x" for "--rm" flag: strconv.ParseBool: parsing "x": invalid syntax'),
        (["--retries=x"], 'invalid argument "x" for "--retries" flag: strconv.ParseInt: parsing "x": invalid syntax'),
        (["-m", "1x"], 'invalid argument "1x" for "-m, --memory" flag: invalid suffix: \'x\''),
        (["--interval", "5"], 'invalid argument "5" for "--interval" flag: time: missing unit in duration "5"'),
        (["-f", "x"], 'invalid argument "x" for "-f, --filter" flag: bad format of filter (expected name=value)'),
    ],
)
def test_mistakes_have_pflags_texts(words: list[str], message: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse_flags(FLAGS, words)
    assert str(caught.value) == message


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_is_asked_for(word: str) -> None:
    with pytest.raises(HelpWanted):
        parse_flags(FLAGS, [word])
