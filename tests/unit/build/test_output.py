"""What stages say at once is heard in the order of the Dockerfile."""

from __future__ import annotations

import asyncio
from typing import Any

from engine.build.output import MAX_WAITING_BYTES, BuildLog, BuildOutput


class Ear:
    """Hears messages."""

    def __init__(self) -> None:
        """Has heard nothing."""
        self.heard: list[dict[str, Any]] = []

    async def __call__(self, message: dict[str, Any]) -> None:
        """Hear one."""
        self.heard.append(message)

    @property
    def text(self) -> str:
        """Everything that was said."""
        return "".join(message.get("stream", "") for message in self.heard)


async def test_the_first_is_heard_at_once_and_others_wait() -> None:
    """A later stage's words come when the earlier one has ended."""
    ear = Ear()
    output = BuildOutput(ear)
    one, two, three = output.channel(), output.channel(), output.channel()
    await two.text("2a ")
    await one.text("1a ")
    await three.text("3a ")
    assert ear.text == "1a "
    await two.end()
    await one.text("1b ")
    await one.end()
    assert ear.text == "1a 1b 2a 3a "
    await three.text("3b")
    assert ear.text == "1a 1b 2a 3a 3b"


async def test_who_says_too_much_before_its_turn_waits() -> None:
    """What waits is bounded, and goes on in order."""
    ear = Ear()
    output = BuildOutput(ear)
    one, two = output.channel(), output.channel()
    talking = asyncio.ensure_future(two.text("x" * (MAX_WAITING_BYTES + 1)))
    await asyncio.sleep(0)
    assert not talking.done()
    await one.end()
    await talking
    assert len(ear.text) == MAX_WAITING_BYTES + 1


async def test_a_build_that_fails_says_everything() -> None:
    """The words of stages whose turn has not come are not lost."""
    ear = Ear()
    output = BuildOutput(ear)
    output.channel()
    two = output.channel()
    await two.text("why")
    await output.flush()
    assert ear.text == "why"


async def test_details_come_at_once() -> None:
    """Who asks for details hears all stages as they speak, each with its step's number."""
    ear = Ear()
    output = BuildOutput(ear, is_detailed=True)
    output.channel()
    two = output.channel()
    two.vertex = 7
    await two.text("only for others")
    await two.written("now", is_error=True)
    await two.event(state="done")
    assert ear.heard == [{"stream": "now", "vertex": 7}, {"step": {"number": 7, "state": "done"}}]


def test_the_log_is_bounded_and_hides_secrets() -> None:
    """Old text goes first; what must not be kept is not."""
    log = BuildLog(["s3cret", ""])
    log.add("x" * 300_000)
    log.add("the s3cret is out")
    assert len(log.text) <= 256 * 1024
    assert log.text.endswith("the *** is out")
