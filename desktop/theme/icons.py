"""Icons: own line drawings as SVG paths on a grid of 24, coloured by the theme."""

from __future__ import annotations

from functools import lru_cache

from PySide6.QtCore import QByteArray, QRectF, QSize, Qt
from PySide6.QtGui import QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

PATHS = {
    "containers": "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
    "images": "M4 15l8 4 8-4M4 11l8 4 8-4M12 3l8 4-8 4-8-4z",
    "volumes": (
        "M4 7c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3zM4 7v10c0 1.7 3.6 3 8 3s8-1.3 8-3V7"
        "M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3"
    ),
    "networks": "M9 4h6v5H9zM3 15h6v5H3zM15 15h6v5h-6zM12 9v3M6 15v-3h12v3",
    "link": "M10 14l4-4M8 11l-2.5 2.5a3.5 3.5 0 0 0 5 5L13 16M16 13l2.5-2.5a3.5 3.5 0 0 0-5-5L11 8",
    "terminal": "M4 5h16v14H4zM7.5 9l3 3-3 3M12.5 15h4",
    "plus": "M12 5v14M5 12h14",
    "play": "M8 5v14l11-7z",
    "stop": "M8 6h8a2 2 0 0 1 2 2v8a2 2 0 0 1-2 2H8a2 2 0 0 1-2-2V8a2 2 0 0 1 2-2z",
    "restart": "M20 11a8 8 0 1 0-2.3 6.2M20 5v6h-6",
    "trash": "M5 7h14M10 7V5h4v2M7 7l1 12h8l1-12M10.5 11v5M13.5 11v5",
    "search": "M11 5a6 6 0 1 0 0 12a6 6 0 0 0 0-12M15.5 15.5L20 20",
    "pull": "M12 4v11M7 10.5l5 5 5-5M5 20h14",
    "copy": "M9 9h10v10H9zM15 9V5H5v10h4",
    "close": "M6 6l12 12M18 6L6 18",
    "back": "M14 6l-6 6 6 6",
    "up": "M6 14l6-6 6 6",
    "down": "M6 10l6 6 6-6",
    "wrap": "M4 6h16M4 12h13a3 3 0 0 1 0 6h-4M15 15.5L12.5 18l2.5 2.5M4 18h5",
    "follow": "M12 4v12M7 11l5 5 5-5M6 20h12",
    "warning": "M12 4l9 16H3zM12 10v5M12 17.3v.4",
    "info": "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M12 11v6M12 7.3v.4",
    "clock": "M12 3a9 9 0 1 0 0 18a9 9 0 0 0 0-18M12 7v5l3.5 2",
    "more": "M6 12h.01M12 12h.01M18 12h.01",
    "list": "M8 6h12M8 12h12M8 18h12M4 6h.01M4 12h.01M4 18h.01",
    "broom": "M14 4l6 6M12 8l4 4M12 8l-8 5 7 7 5-8M8 14l3 3",
    "pause": "M8 5v14M16 5v14",
    "open": "M14 5h5v5M19 5l-8 8M17 13v6H5V7h6",
    "chevron": "M9 6l6 6-6 6",
    "engine": "M4 6h16v5H4zM4 13h16v5H4zM7.5 8.5h.01M7.5 15.5h.01",
    "lock": "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
    "plug": "M9 4v5M15 4v5M6 9h12v3a6 6 0 0 1-12 0zM12 18v3",
    "check": "M5 12.5l4.5 4.5L19 7.5",
    "portside": "M4 13l8-9v16zM14 8l6 9h-6",
}


def svg(name: str, colour: str, width: float = 1.7) -> bytes:
    """Return an icon's SVG."""
    if name == "dot":
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
            f'<circle cx="12" cy="12" r="9" fill="{colour}"/></svg>'
        ).encode()
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" '
        f'stroke="{colour}" stroke-width="{width}" stroke-linecap="round" stroke-linejoin="round">'
        f'<path d="{PATHS[name]}"/></svg>'
    ).encode()


@lru_cache(maxsize=256)
def pixmap(name: str, colour: str, size: int, ratio: float = 2.0) -> QPixmap:
    """Return an icon drawn at ``size`` logical pixels."""
    drawn = QPixmap(QSize(round(size * ratio), round(size * ratio)))
    drawn.fill(Qt.GlobalColor.transparent)
    painter = QPainter(drawn)
    QSvgRenderer(QByteArray(svg(name, colour))).render(painter, QRectF(0, 0, size * ratio, size * ratio))
    painter.end()
    drawn.setDevicePixelRatio(ratio)
    return drawn


def icon(name: str, colour: str, disabled: str = "", size: int = 18) -> QIcon:
    """Return an icon; ``disabled`` is its colour where it cannot be used."""
    made = QIcon(pixmap(name, colour, size))
    if disabled:
        made.addPixmap(pixmap(name, disabled, size), QIcon.Mode.Disabled)
    return made
