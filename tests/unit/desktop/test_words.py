"""Messages, the overview, forms, logs in memory, JSON and colours: what the window says and how. Without Qt."""

from __future__ import annotations

import itertools

import pytest

from desktop.messages import explain
from desktop.pages.containers.overview import moment, overview
from desktop.pages.containers.presenter import Row, ports_of, question_about_removal
from desktop.pages.images.presenter import Pull, PullStep, RunForm, name_problem
from desktop.theme.tokens import DARK, LIGHT, Tokens, contrast
from desktop.widgets.jsontext import pretty, spans
from desktop.widgets.logbuffer import LogBuffer
from engine.errors import Conflict, InvalidArgument, NotSupported
from engine.model.inspect import ContainerSummary, PortSummary


def test_an_error_becomes_title_reason_and_way_out() -> None:
    message = explain("start web", Conflict("port 8080 is used by db", hint="choose another port"))
    assert message.text == "Could not start web\nPort 8080 is used by db.\nChoose another port."
    assert explain("build", NotSupported("building is absent")).way_out == "This engine does not have that yet."
    assert "fault of ours" in explain("do that", KeyError("x")).way_out


def row(name: str, state: str = "exited", status: str = "Exited (0) now") -> Row:
    return Row(name, name, "busybox", state, status, (), 0, "", status=status)


def test_the_question_lists_what_will_go() -> None:
    title, text = question_about_removal([row("a", "running", "Up"), row("b")])
    assert title == "Delete 2 containers?"
    assert "• a  (busybox)  — running, will be killed\n• b  (busybox)" in text
    _, long = question_about_removal([row(f"c{number}") for number in range(14)])
    assert "… and 4 more" in long


@pytest.mark.parametrize(
    ("state", "status", "tone"),
    [
        ("running", "Up 3 minutes (healthy)", "green"),
        ("running", "Up 3 minutes (unhealthy)", "amber"),
        ("exited", "Exited (0) now", "grey"),
        ("exited", "Exited (137) now", "red"),
        ("restarting", "Restarting (1)", "amber"),
    ],
)
def test_the_colour_of_a_state(state: str, status: str, tone: str) -> None:
    assert row("a", state, status).tone == tone


def test_ports_once_each_with_the_address_to_open() -> None:
    ports = [
        PortSummary(ip="0.0.0.0", private_port=80, public_port=8080, type="tcp"),
        PortSummary(ip="::", private_port=80, public_port=8080, type="tcp"),
        PortSummary(ip="10.0.0.5", private_port=53, public_port=53, type="udp"),
        PortSummary(private_port=9000, type="tcp"),
    ]
    assert ports_of(ContainerSummary(ports=ports)) == (
        ("10.0.0.5:53:53/udp", ""),
        ("8080:80", "http://localhost:8080/"),
    )


def test_the_form_makes_the_request_and_names_what_is_wrong() -> None:
    form = RunForm("web", "127.0.0.1:8080:80\n53:53/udp", "A=1", "data:/data:ro", "sh -c 'a b'", auto_remove=True)
    request = form.request("busybox")
    assert request.cmd == ["sh", "-c", "a b"]
    assert request.exposed_ports == {"80/tcp": {}, "53/udp": {}}
    bad = RunForm("!", "x", "A", "data", "'")
    assert set(bad.problems()) == {"name", "ports", "env", "volumes", "command"}
    with pytest.raises(InvalidArgument):
        bad.request("busybox")


@pytest.mark.parametrize(
    ("name", "is_good"),
    [
        ("nginx", True), ("nginx:1.27", True), ("registry.example.com:5000/team/app:v1", True), ("localhost/a", True),
        ("app@sha256:" + "a" * 64, True), ("Nginx", False), ("a b", False), ("nginx:", False), ("a//b", False),
        ("app@sha256:12", False),
    ],
)  # fmt: skip
def test_names_of_images_are_checked_while_they_are_typed(name: str, is_good: bool) -> None:
    assert (name_problem(name) == "") is is_good


def test_a_pull_adds_its_layers_up() -> None:
    pull = Pull("x")
    for step in (
        PullStep("latest", "Pulling from x"),
        PullStep("aaaaaaaaaaaa", "Downloading", 50, 100),
        PullStep("bbbbbbbbbbbb", "Downloading", 0, 100),
    ):
        pull.take(step)
    assert pull.share == 0.25
    pull.take(PullStep("aaaaaaaaaaaa", "Pull complete"))
    assert pull.share == 0.5
    assert pull.status == "1 of 2 layers"


def test_a_log_keeps_lines_marks_and_finds() -> None:
    log = LogBuffer()
    log.append(b"one\n\x1b[31mtw")
    log.append(b"o\x1b[0m\n")
    log.append(b"ONE again\r\n", marked=True)
    log.append(b"open")
    assert [log.line(number) for number in range(len(log))] == ["one", "two", "ONE again", "open"]
    assert [log.is_marked(number) for number in range(4)] == [False, False, True, False]
    assert log.find("one", after=-1) == 0
    assert log.find("one", after=0) == 2
    assert log.find("one", after=2) == 0
    assert log.find("one", after=2, backwards=True) == 0
    assert log.find("one", after=0, backwards=True) == 2
    assert log.find("none such", after=0) == -1
    assert log.count("one") == (2, False)


def test_a_log_that_is_too_long_drops_its_oldest_lines() -> None:
    log = LogBuffer(limit_bytes=1000)
    for number in range(300):
        log.append(b"line %d\n" % number)
    assert log.dropped
    assert log.line(len(log) - 1) == "line 299"
    assert log.line(0) == f"line {log.dropped}"


def test_json_is_indented_and_coloured() -> None:
    text = pretty(b'{"a":[1,true,"x"]}')
    assert text.splitlines()[1] == '  "a": ['
    assert spans('  "a": "b", 12 null') == [(2, 5, "text"), (7, 10, "green"), (12, 14, "amber"), (15, 19, "accent")]
    assert pretty(b"no json") == "no json"


def test_the_overview_tells_what_there_is() -> None:
    sections = overview(
        {
            "Id": "abc",
            "Path": "sh",
            "Args": ["-c", "sleep 1"],
            "Config": {"Image": "busybox", "Env": ["A=b=c"]},
            "State": {"Running": False, "ExitCode": 3, "FinishedAt": "2026-01-01T00:00:00Z", "OOMKilled": True},
            "HostConfig": {"NetworkMode": "none", "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
            "Mounts": [{"Type": "bind", "Source": "/a", "Destination": "/b", "RW": False}],
        }
    )
    told = {section.title: dict(section.lines) for section in sections}
    assert set(told) == {"Container", "Network", "Mounts", "Environment"}
    assert told["Container"]["Command"] == "sh -c 'sleep 1'"
    assert told["Container"]["Ended"].endswith(", with code 3")
    assert told["Container"]["Restart policy"] == "on-failure, 3 times at most"
    assert told["Mounts"]["/b"] == "bind /a, read-only"
    assert told["Environment"]["A"] == "b=c"
    assert overview({}) != []
    assert moment("0001-01-01T00:00:00Z") == ""


@pytest.mark.parametrize("tokens", [LIGHT, DARK], ids=lambda tokens: tokens.name)
def test_words_can_be_read_on_every_ground(tokens: Tokens) -> None:
    for words, ground in itertools.product(("text", "muted"), ("window", "side", "raised", "hover", "selected")):
        assert contrast(getattr(tokens, words), getattr(tokens, ground)) >= 4.5, (words, ground)
    for tone in ("green", "amber", "red"):
        assert contrast(getattr(tokens, tone), getattr(tokens, f"{tone}_soft")) >= 4.5, tone
    assert contrast(tokens.muted, tokens.grey_soft) >= 4.5
    assert contrast(tokens.on_accent, tokens.accent) >= 4.5
    assert contrast(tokens.accent, tokens.window) >= 4.5
