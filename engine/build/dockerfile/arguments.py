"""Build arguments: which are known where, and what they are worth.

Those of the request count only where an ARG declares them; the proxies and the platforms are known without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

PROXIES = frozenset(
    name for word in ("HTTP", "HTTPS", "FTP", "NO", "ALL") for name in (f"{word}_PROXY", f"{word.lower()}_proxy")
)
EPOCH = "SOURCE_DATE_EPOCH"
PLATFORMS = ("TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT",
             "BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT", "TARGETSTAGE")  # fmt: skip


def platform_arguments(system: str, architecture: str, variant: str = "", target: str = "") -> dict[str, str]:
    """Return the predefined arguments of a build on and for one platform."""
    whole = "/".join(part for part in (system, architecture, variant) if part)
    values: dict[str, str] = {}
    for word in ("TARGET", "BUILD"):
        values |= {f"{word}PLATFORM": whole, f"{word}OS": system, f"{word}ARCH": architecture}
        values[f"{word}VARIANT"] = variant
    values["TARGETSTAGE"] = target or "default"
    return values


@dataclass
class BuildArguments:
    """The arguments of a build: ``given`` by the request (None: without a value), ``predefined`` by the platform."""

    given: Mapping[str, str | None]
    predefined: Mapping[str, str] = field(default_factory=dict)
    globals: dict[str, str | None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def declare_global(self, name: str, default: str | None) -> None:
        """Note an ARG before the first FROM."""
        self.globals[name] = default
        self.used.add(name)

    def global_values(self) -> dict[str, str]:
        """Return what FROM may use."""
        values = dict(self.predefined)
        for name in [*self.globals, *PROXIES]:
            value = self._value(name, self.globals.get(name))
            if value is not None:
                values[name] = value
        return values

    def _value(self, name: str, default: str | None) -> str | None:
        chosen = self.given.get(name)
        if chosen is not None:
            return chosen
        if default is not None:
            return default
        inherited = self.globals.get(name)
        return inherited if inherited is not None else self.predefined.get(name)

    def stage(self) -> StageArguments:
        """Return the arguments of a stage that begins."""
        return StageArguments(self)

    def unused(self) -> list[str]:
        """Return the names that were given and that no ARG asked for."""
        return sorted(name for name in self.given if name not in self.used and name not in PROXIES and name != EPOCH)


@dataclass
class StageArguments:
    """What the ARGs of one stage have declared so far."""

    build: BuildArguments
    declared: dict[str, str | None] = field(default_factory=dict)

    def declare(self, name: str, default: str | None) -> None:
        """Note an ARG."""
        self.declared[name] = default
        self.build.used.add(name)

    def values(self) -> dict[str, str]:
        """Return everything that has a value, the proxies of the request too."""
        found: dict[str, str] = {}
        for name in [*self.declared, *sorted(PROXIES)]:
            value = self.build._value(name, self.declared.get(name))
            if value is not None:
                found[name] = value
        return found

    def beside(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the values that no variable of the image's environment hides."""
        return {name: value for name, value in self.values().items() if name not in env}

    def shown(self, env: Mapping[str, str]) -> list[str]:
        """Return those that a RUN's history names: proxies only when an ARG declared them."""
        return sorted(
            f"{name}={value}"
            for name, value in self.beside(env).items()
            if name not in PROXIES or name in self.declared
        )
