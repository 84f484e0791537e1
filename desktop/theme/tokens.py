"""Colours and sizes, one set a theme. Without Qt, so that tests and pictures can read them."""

from __future__ import annotations

from dataclasses import dataclass

SPACE = 8
"""The grid: margins and gaps are multiples of it, in pixels."""
RADIUS = 8
ROW_HEIGHT = 44
NAVIGATION_WIDTH = 208
ENGINE_LINE_HEIGHT = 40
TEXT_FAMILIES = ("Inter", "Segoe UI", "Cantarell", "Ubuntu", "Noto Sans", "DejaVu Sans")
MONO_FAMILIES = ("JetBrains Mono", "Cascadia Mono", "SF Mono", "Ubuntu Mono", "Noto Sans Mono", "DejaVu Sans Mono")


@dataclass(frozen=True)
class Tokens:
    """The colours of a theme as ``#rrggbb``."""

    name: str
    window: str
    side: str
    surface: str
    raised: str
    line: str
    text: str
    muted: str
    faint: str
    accent: str
    on_accent: str
    accent_soft: str
    accent_hover: str
    hover: str
    selected: str
    green: str
    amber: str
    red: str
    red_soft: str
    amber_soft: str
    green_soft: str
    grey_soft: str
    grey: str


LIGHT = Tokens(
    name="light", window="#ffffff", side="#f5f6f8", surface="#ffffff", raised="#f7f8fa", line="#e4e7ec",
    text="#1b2430", muted="#566170", faint="#87919f", accent="#2460e6", on_accent="#ffffff", accent_soft="#e8effd",
    accent_hover="#1c50c8", hover="#f0f2f6", selected="#e3ecfd", green="#0d7447", amber="#925600", red="#c12f2f",
    red_soft="#fdecec", amber_soft="#fdf3e0", green_soft="#e4f5ec", grey_soft="#eef0f3", grey="#98a2b0",
)  # fmt: skip
DARK = Tokens(
    name="dark", window="#16191f", side="#1b1f26", surface="#16191f", raised="#20252d", line="#2c323c",
    text="#e7ebf1", muted="#a2acba", faint="#76808e", accent="#5b8cff", on_accent="#0c1220", accent_soft="#1f2c4a",
    accent_hover="#7aa2ff", hover="#232932", selected="#24355c", green="#3ecf8e", amber="#f0a93b", red="#ff6b6b",
    red_soft="#3a2226", amber_soft="#38301f", green_soft="#17342a", grey_soft="#272d36", grey="#6c7684",
)  # fmt: skip


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2.1): 4.5 and more is readable text."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)
