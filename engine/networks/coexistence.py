"""Living beside other firewalls: our bridge's packets must get through chains that are not ours.

An accept in our table does not survive the DROP policy that dockerd (or ufw, or an administrator) sets on
iptables' chain FORWARD: each base chain of a hook has its say. So rules with our tag go into
DOCKER-USER where dockerd has made it, else into FORWARD. They let through what our own table has judged
already, and leave alone what goes to Docker's bridges, which Docker judges. Nobody else's rule is
touched. Chains of iptables-nft are edited through nftables, those of iptables-legacy by its programs.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from engine.runtime.netlink import Answer, attributes
from engine.runtime.nftables import Nftables, NftablesError

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10
_SUBSYSTEM = 10
_CHANGES = {0, 2, 3, 5, 6, 8}  # new and deleted tables, chains and rules (linux/netfilter/nf_tables.h)
_TABLE_NAME = 1
_LEGACY_TABLES = {"ip": Path("/proc/net/ip_tables_names"), "ip6": Path("/proc/net/ip6_tables_names")}

NFNLGRP_NFTABLES = 7
"""The netlink group that announces changes of rules."""


@dataclass(frozen=True)
class Passage:
    """What is to get through: all packets of ``bridges``; ``tag`` marks the rules as ours."""

    bridges: tuple[str, ...]
    tag: str


@dataclass
class _Chains:
    """What a filter table of iptables holds, as far as it matters here."""

    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def anchor(self) -> str | None:
        if "DOCKER-USER" in self.rules and any(
            _jump_of(rule) == "DOCKER-USER" for rule in self.rules.get("FORWARD", [])
        ):
            return "DOCKER-USER"
        return "FORWARD" if "FORWARD" in self.rules else None

    def foreign_bridges(self) -> list[str]:
        """Return the bridges for which Docker has a chain: ``-o docker0 -j DOCKER``."""
        found = [_out_of(rule) for rules in self.rules.values() for rule in rules if _jump_of(rule) == "DOCKER"]
        return sorted({name for name in found if name})


def plan_changes(listing: Iterable[Mapping[str, Any]], family: str, passage: Passage, *, remove: bool = False) -> str:
    """Return a script for nft that puts our rules where they belong in ``ip filter``, "" when they are there.

    ``listing`` is the content of ``nft -j list table ip filter``. With ``remove`` all of ours are taken out.
    """
    chains = _Chains()
    for entry in listing:
        if "chain" in entry:
            chains.rules.setdefault(entry["chain"]["name"], [])
        elif "rule" in entry:
            chains.rules.setdefault(entry["rule"]["chain"], []).append(entry["rule"])
    anchor = None if remove else chains.anchor
    ours = [rule for rules in chains.rules.values() for rule in rules if rule.get("comment") == passage.tag]
    foreign = [name for name in chains.foreign_bridges() if name not in passage.bridges]
    wanted = _wanted(passage, foreign) if anchor else []
    present = [(rule["chain"], _signature(rule)) for rule in ours]
    if present == [(anchor, signature) for signature in wanted]:
        return ""
    lines = [f"delete rule {family} filter {rule['chain']} handle {rule['handle']}" for rule in ours]
    if anchor:
        texts = [_nft_rule(passage, signature) for signature in wanted]
        others = [rule for rule in chains.rules[anchor] if rule.get("comment") != passage.tag]
        if anchor == "FORWARD":
            lines += [f"insert rule {family} filter FORWARD {text}" for text in reversed(texts)]
        elif others and _is_bare_return(others[-1]):
            handle = others[-1]["handle"]
            lines += [f"insert rule {family} filter {anchor} handle {handle} {text}" for text in texts]
        else:
            lines += [f"add rule {family} filter {anchor} {text}" for text in texts]
    return "".join(f"{line}\n" for line in lines)


_Signature = tuple[str, str, str]
"""Interface in, interface out, verdict."""


def _wanted(passage: Passage, foreign: Iterable[str]) -> list[_Signature]:
    returns = [(bridge, name, "return") for bridge in passage.bridges for name in foreign]
    accepts = [pair for bridge in passage.bridges for pair in ((bridge, "", "accept"), ("", bridge, "accept"))]
    return [*returns, *accepts]


def _nft_rule(passage: Passage, signature: _Signature) -> str:
    coming, going, verdict = signature
    matches = [f'iifname "{coming}"'] if coming else []
    matches += [f'oifname "{going}"'] if going else []
    return f'{" ".join(matches)} counter {verdict} comment "{passage.tag}"'


def _matches(rule: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for expression in rule.get("expr", []):
        match = expression.get("match") if isinstance(expression, dict) else None
        if match and match.get("op") == "==" and isinstance(match.get("left"), dict):
            key = (match["left"].get("meta") or {}).get("key", "")
            if isinstance(match.get("right"), str):
                found[key] = match["right"]
    return found


def _out_of(rule: Mapping[str, Any]) -> str:
    return _matches(rule).get("oifname", "")


def _jump_of(rule: Mapping[str, Any]) -> str:
    for expression in rule.get("expr", []):
        if isinstance(expression, dict) and "jump" in expression:
            return str(expression["jump"].get("target", ""))
    return ""


def _verdict(rule: Mapping[str, Any]) -> str:
    for expression in rule.get("expr", []):
        for verdict in ("accept", "return", "drop"):
            if isinstance(expression, dict) and verdict in expression:
                return verdict
    return ""


def _signature(rule: Mapping[str, Any]) -> _Signature:
    matches = _matches(rule)
    return matches.get("iifname", ""), matches.get("oifname", ""), _verdict(rule)


def _is_bare_return(rule: Mapping[str, Any]) -> bool:
    plain = all(isinstance(part, dict) and part.keys() <= {"counter", "return"} for part in rule.get("expr", []))
    return plain and _verdict(rule) == "return"


def plan_legacy_changes(listing: str, passage: Passage, *, remove: bool = False) -> str:
    """Return what ``iptables-restore --noflush`` is to read, "" when the rules are there already.

    ``listing`` is the output of ``iptables -S``.
    """
    lines = [line.strip() for line in listing.splitlines()]
    chains = {line.split()[1] for line in lines if line.startswith(("-N ", "-P "))}
    mark = f"--comment {passage.tag} "
    ours = [line for line in lines if line.startswith("-A ") and mark in line.replace('"', "")]
    docker = "DOCKER-USER" in chains and "-A FORWARD -j DOCKER-USER" in lines
    anchor = "" if remove else "DOCKER-USER" if docker else "FORWARD" if "FORWARD" in chains else ""
    foreign = sorted(
        {
            line.split()[3]
            for line in lines
            if " -o " in line and line.endswith(" -j DOCKER") and line.split()[2] == "-o"
        }
    )
    wanted = [
        f"{anchor} {_legacy_rule(passage, signature)}"
        for signature in _wanted(passage, [name for name in foreign if name not in passage.bridges])
        if anchor
    ]
    if [line.removeprefix("-A ").replace('"', "") for line in ours] == wanted:
        return ""
    changes = [f"-D {line.removeprefix('-A ')}" for line in ours]
    if anchor == "FORWARD":
        changes += [f"-I {rule}" for rule in reversed(wanted)]
    elif anchor:
        inside = [line for line in lines if line.startswith(f"-A {anchor} ") and line not in ours]
        if inside and inside[-1] == f"-A {anchor} -j RETURN":
            changes += [
                f"-I {anchor} {len(inside) + place} {rule.partition(' ')[2]}" for place, rule in enumerate(wanted)
            ]
        else:
            changes += [f"-A {rule}" for rule in wanted]
    return "\n".join(["*filter", *changes, "COMMIT", ""]) if changes else ""


def _legacy_rule(passage: Passage, signature: _Signature) -> str:
    coming, going, verdict = signature
    parts = ["-i", coming] if coming else []
    parts += ["-o", going] if going else []
    return " ".join([*parts, "-m", "comment", "--comment", passage.tag, "-j", verdict.upper()])


def is_foreign_change(answers: Iterable[Answer] | None, own_table: str) -> tuple[bool, bool]:
    """Return whether announced changes concern chains of iptables, and whether our own table was deleted.

    None, for announcements that were lost, means both may be so.
    """
    if answers is None:
        return True, True
    foreign = gone = False
    for answer in answers:
        subsystem, kind = answer.kind >> 8, answer.kind & 0xFF
        if subsystem != _SUBSYSTEM or kind not in _CHANGES:
            continue
        name = dict(attributes(answer.body[4:])).get(_TABLE_NAME, b"").rstrip(b"\0").decode(errors="replace")
        foreign = foreign or name == "filter"
        gone = gone or (name == own_table and kind == 2)
    return foreign, gone


class Coexistence:
    """Keeps our rules in the chains of others. Blocking; used in the thread of ``plumbing.py`` only."""

    def __init__(self, tag: str) -> None:
        """``tag`` marks the rules as ours."""
        self._tag = tag

    def ensure(self, nftables: Nftables, bridges: Iterable[str], families: Iterable[str]) -> bool:
        """Put our rules in place where there are such chains; return whether iptables-legacy is in use.

        ``families`` are ``ip`` and, where a bridge has IPv6, ``ip6``; in others ours are taken out.
        """
        passage, wanted = Passage(tuple(bridges), self._tag), set(families)
        legacy = False
        for family in ("ip", "ip6"):
            remove = family not in wanted
            self._edit(nftables, family, passage, remove=remove)
            legacy = self._edit_legacy(family, passage, remove=remove) or legacy
        return legacy

    def remove(self, nftables: Nftables) -> None:
        """Take our rules out of all chains."""
        self.ensure(nftables, (), ())

    def close_forwarding(self, nftables: Nftables, family: str) -> None:
        """Make the host forward for nobody but those who have a rule, as Docker does when it switches forwarding on."""
        chain = "{ type filter hook forward priority filter; policy drop; }"
        nftables.run(f"add table {family} filter\nadd chain {family} filter FORWARD {chain}\n")

    def _edit(self, nftables: Nftables, family: str, passage: Passage, *, remove: bool) -> None:
        try:
            tables = _entries(nftables.run(f"list tables {family}"))
            if not any(entry.get("table", {}).get("name") == "filter" for entry in tables):
                return
            listing = _entries(nftables.run(f"list table {family} filter"))
            script = plan_changes(listing, family, passage, remove=remove)
            if script:
                nftables.run(script)
        except NftablesError as error:
            # Docker changes its chains in between: its own change wakes us again.
            _log.warning("rules beside iptables could not be set: %s", error.message)

    def _edit_legacy(self, family: str, passage: Passage, *, remove: bool) -> bool:
        try:
            if "filter" not in _LEGACY_TABLES[family].read_text().split():
                return False
        except OSError:
            return False
        program = shutil.which("iptables-legacy" if family == "ip" else "ip6tables-legacy")
        restore = shutil.which("iptables-legacy-restore" if family == "ip" else "ip6tables-legacy-restore")
        if program is None or restore is None:
            return False
        listing = _run([program, "-w", "5", "-S"])
        changes = plan_legacy_changes(listing, passage, remove=remove)
        if changes:
            _run([restore, "-w", "5", "--noflush"], changes)
        return True


def _entries(output: str) -> list[dict[str, Any]]:
    if not output.strip():
        return []
    found: list[dict[str, Any]] = msgspec.json.decode(output.encode())["nftables"]
    return found


def _run(argv: list[str], stdin: str = "") -> str:
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        _log.warning("%s: %s", argv[0], error)
        return ""
    if done.returncode != 0:
        _log.warning("%s: %s", argv[0], done.stderr.strip())
    return done.stdout
