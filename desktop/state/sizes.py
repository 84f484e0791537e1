"""Sizes for people. Without Qt."""

from __future__ import annotations


def size_text(size: int) -> str:
    """Return a size as Docker writes those of images, in decimal units: ``1.98 MB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def memory_text(size: int) -> str:
    """Return an amount of memory in binary units: ``12.5 MiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB"):
        if value < 1023.5:
            return f"{value:.0f} {unit}" if value >= 100 or unit == "B" else f"{value:.3g} {unit}"
        value /= 1024
    return f"{value:.3g} GiB"
