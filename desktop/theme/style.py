"""Palette and style sheet, made of the tokens; Fusion underneath."""

from __future__ import annotations

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from desktop.theme.tokens import MONO_FAMILIES, RADIUS, TEXT_FAMILIES, Tokens


def palette(tokens: Tokens) -> QPalette:
    """Return the palette of a theme."""
    made = QPalette()
    roles = QPalette.ColorRole
    for role, colour in (
        (roles.Window, tokens.window), (roles.WindowText, tokens.text), (roles.Base, tokens.surface),
        (roles.AlternateBase, tokens.raised), (roles.Text, tokens.text), (roles.Button, tokens.raised),
        (roles.ButtonText, tokens.text), (roles.Highlight, tokens.selected), (roles.HighlightedText, tokens.text),
        (roles.ToolTipBase, tokens.raised), (roles.ToolTipText, tokens.text), (roles.PlaceholderText, tokens.faint),
        (roles.Link, tokens.accent), (roles.Mid, tokens.line), (roles.Accent, tokens.accent),
    ):  # fmt: skip
        made.setColor(role, QColor(colour))
    for role in (roles.WindowText, roles.Text, roles.ButtonText):
        made.setColor(QPalette.ColorGroup.Disabled, role, QColor(tokens.faint))
    return made


def style_sheet(t: Tokens) -> str:
    """Return the style sheet of a theme."""
    mono = ", ".join(f'"{family}"' for family in (*MONO_FAMILIES, "monospace"))
    return f"""
    * {{ outline: none; }}
    QToolTip {{ background: {t.raised}; color: {t.text}; border: 1px solid {t.line}; padding: 4px 8px; }}
    #side {{ background: {t.side}; border-right: 1px solid {t.line}; }}
    #brand {{ font-size: 15px; font-weight: 600; }}
    QPushButton#nav {{ text-align: left; padding: 8px 12px; border: none; border-radius: {RADIUS}px; color: {t.muted};
        background: transparent; font-weight: 500; }}
    QPushButton#nav:hover {{ background: {t.hover}; color: {t.text}; }}
    QPushButton#nav:checked {{ background: {t.accent_soft}; color: {t.accent}; }}
    QPushButton#nav:focus {{ background: {t.hover}; }}
    QPushButton#nav:checked:focus {{ background: {t.accent_soft}; }}
    #badge {{ color: {t.faint}; font-size: 12px; }}
    #title {{ font-size: 20px; font-weight: 600; }}
    #muted {{ color: {t.muted}; }}
    #faint {{ color: {t.faint}; }}
    #big {{ font-size: 16px; font-weight: 600; }}
    #error {{ color: {t.red}; }}
    QLineEdit, QPlainTextEdit#field {{ background: {t.surface}; border: 1px solid {t.line}; border-radius: {RADIUS}px;
        padding: 6px 10px; selection-background-color: {t.accent}; selection-color: {t.on_accent}; }}
    QLineEdit {{ min-height: 20px; }}
    QPlainTextEdit#field {{ padding: 2px 6px; }}
    QLineEdit#search {{ padding-left: 2px; }}
    QLineEdit:focus, QPlainTextEdit#field:focus {{ border-color: {t.accent}; }}
    QLineEdit[invalid="true"], QPlainTextEdit#field[invalid="true"] {{ border-color: {t.red}; }}
    QPushButton {{ background: {t.surface}; border: 1px solid {t.line}; border-radius: {RADIUS}px; padding: 6px 14px;
        min-height: 20px; font-weight: 500; }}
    QPushButton:hover {{ background: {t.hover}; }}
    QPushButton:focus {{ border-color: {t.accent}; }}
    QPushButton:disabled {{ color: {t.faint}; }}
    QPushButton[kind="primary"]:hover {{ background: {t.accent_hover}; border-color: {t.accent_hover}; }}
    QPushButton[kind="primary"]:focus, QPushButton[kind="danger"]:focus {{ border-color: {t.text}; }}
    QPushButton[kind="quiet"] {{ background: transparent; border-color: transparent; padding: 5px 10px;
        color: {t.muted}; }}
    QPushButton[kind="quiet"]:hover {{ background: {t.hover}; color: {t.text}; }}
    QPushButton[kind="quiet"]:focus {{ border-color: {t.accent}; }}
    QPushButton[kind="quiet"]:disabled {{ color: {t.faint}; }}
    #segments {{ background: {t.grey_soft}; border-radius: {RADIUS}px; }}
    QPushButton#segment {{ background: transparent; border: 1px solid transparent; border-radius: 6px;
        padding: 3px 12px; min-height: 22px; color: {t.muted}; }}
    QPushButton#segment:hover {{ color: {t.text}; }}
    QPushButton#segment:focus {{ border-color: {t.accent}; }}
    QPushButton#segment:checked {{ background: {t.surface}; color: {t.text}; border-color: {t.line}; }}
    QPushButton[kind="primary"] {{ background: {t.accent}; border-color: {t.accent}; color: {t.on_accent}; }}
    QPushButton[kind="primary"]:disabled {{ background: {t.raised}; border-color: {t.line}; color: {t.faint}; }}
    QPushButton[kind="danger"] {{ background: {t.red}; border-color: {t.red}; color: {t.window}; }}
    QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 6px; padding: 5px; }}
    QToolButton:hover {{ background: {t.hover}; }}
    QToolButton:focus {{ border-color: {t.accent}; }}
    QToolButton:checked {{ background: {t.accent_soft}; }}
    QComboBox {{ background: {t.surface}; border: 1px solid {t.line}; border-radius: {RADIUS}px; padding: 6px 10px;
        min-height: 20px; }}
    QTableView {{ background: {t.surface}; border: none; gridline-color: {t.line};
        selection-background-color: {t.selected}; selection-color: {t.text}; }}
    QHeaderView {{ background: {t.surface}; }}
    QHeaderView::section {{ background: {t.surface}; color: {t.muted}; border: none; border-bottom: 1px solid {t.line};
        padding: 8px 8px; font-size: 12px; font-weight: 500; }}
    QHeaderView::section:hover {{ color: {t.text}; }}
    QTabBar::tab {{ background: transparent; color: {t.muted}; padding: 8px 4px; margin-right: 20px; border: none;
        border-bottom: 2px solid transparent; font-weight: 500; }}
    QTabBar::tab:selected {{ color: {t.text}; border-bottom-color: {t.accent}; }}
    QTabBar::tab:hover {{ color: {t.text}; }}
    #code {{ font-family: {mono}; font-size: 12px; }}
    #line {{ background: {t.line}; }}
    #section {{ color: {t.muted}; font-size: 12px; font-weight: 600; }}
    #strong {{ font-weight: 600; }}
    #small {{ color: {t.muted}; font-size: 12px; }}
    #selection {{ background: {t.accent_soft}; border-radius: {RADIUS}px; }}
    #tasks {{ background: {t.side}; border-top: 1px solid {t.line}; }}
    #logs {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: {RADIUS}px; }}
    #palette {{ background: {t.raised}; border: 1px solid {t.line}; }}
    #palette QListWidget {{ background: transparent; border: none; }}
    #palette QLineEdit {{ font-size: 15px; padding: 8px 12px; }}
    QDialog {{ background: {t.window}; }}
    QScrollArea, #plain {{ background: transparent; border: none; }}
    #engineline {{ background: {t.side}; border-top: 1px solid {t.line}; }}
    #engineline QLabel {{ font-size: 12px; color: {t.muted}; }}
    #engineline QPushButton {{ padding: 2px 10px; min-height: 18px; font-size: 12px; }}
    #notice {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: {RADIUS}px; }}
    #notice[kind="error"] {{ background: {t.red_soft}; border-color: {t.red}; }}
    #notice[kind="warning"] {{ background: {t.amber_soft}; border-color: {t.amber}; }}
    #card {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: {RADIUS}px; }}
    QProgressBar {{ background: {t.line}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }}
    QProgressBar::chunk {{ background: {t.accent}; border-radius: 3px; }}
    QMenu {{ background: {t.raised}; border: 1px solid {t.line}; border-radius: {RADIUS}px; padding: 6px; }}
    QMenu::item {{ padding: 6px 24px 6px 12px; border-radius: 6px; }}
    QMenu::item:selected {{ background: {t.accent_soft}; }}
    QMenu::item:disabled {{ color: {t.faint}; }}
    QMenu::separator {{ height: 1px; background: {t.line}; margin: 6px 8px; }}
    QScrollBar:vertical {{ background: transparent; width: 12px; margin: 2px; }}
    QScrollBar::handle:vertical {{ background: {t.grey}; border-radius: 4px; min-height: 32px; margin: 0 2px; }}
    QScrollBar:horizontal {{ background: transparent; height: 12px; margin: 2px; }}
    QScrollBar::handle:horizontal {{ background: {t.grey}; border-radius: 4px; min-width: 32px; margin: 2px 0; }}
    QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{ background: none;
        border: none; width: 0; height: 0; }}
    """


def apply(app: QApplication, tokens: Tokens) -> None:
    """Dress the application; safe to call again when the system's theme changes."""
    app.setStyle("Fusion")
    font = QFont(app.font())
    font.setFamilies([*TEXT_FAMILIES, font.family()])
    font.setPixelSize(13)
    app.setFont(font)
    app.setPalette(palette(tokens))
    app.setStyleSheet(style_sheet(tokens))
