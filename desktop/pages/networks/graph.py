"""The graph of networks: what is published, containers, networks and the lines between, drawn and dragged.

A container that is dragged onto a network is connected to it. The wheel zooms, dragging the ground moves.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFont,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QWidget

from desktop.pages.networks.layout import Box, ContainerNode, Graph, NetworkNode
from desktop.theme.tokens import Tokens

_LEAST_ZOOM, _MOST_ZOOM = 0.25, 2.0
_LINE_TONES = ("accent", "green", "amber", "red")


class GraphView(QWidget):
    """Shows a Graph.

    ``opened`` is emitted with a container's ID by a double click, ``connected`` with container and network when one
    is dragged onto the other, ``asked`` with container, network (each perhaps "") and the place for a menu.
    """

    opened = Signal(str)
    connected = Signal(str, str)
    asked = Signal(str, str, object)

    def __init__(self, tokens: Callable[[], Tokens]) -> None:
        """Begin empty."""
        super().__init__()
        self._tokens = tokens
        self._graph = Graph((), (), 0, 0)
        self._zoom = 1.0
        self._offset = QPointF(0, 0)
        self._is_fitted = True
        self._grabbed: ContainerNode | None = None
        self._pointer = QPointF()
        self._moved_from: QPointF | None = None
        self._hovered = ""
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName("Graph of networks")

    def show_graph(self, graph: Graph) -> None:
        """Show another graph; zoom and place stay where a person has put them."""
        self._graph = graph
        names = ", ".join(f"{node.row.name} with {len(node.row.members)}" for node in graph.networks)
        self.setAccessibleDescription(f"Networks and how many containers are on each: {names}")
        if self._is_fitted:
            self.fit()
        self.update()

    def fit(self) -> None:
        """Show the whole width, and all of it where that can still be read."""
        graph = self._graph
        if not graph.width or not self.width():
            return
        across, down = self.width() / graph.width, self.height() / max(1.0, graph.height)
        self._zoom = max(0.6, min(1.0, across, down)) if across > 0.6 else max(_LEAST_ZOOM, across)
        left = max(0.0, (self.width() - graph.width * self._zoom) / 2)
        self._offset = QPointF(left, 0)
        self._is_fitted = True
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Fit again unless a person has zoomed."""
        super().resizeEvent(event)
        if self._is_fitted:
            self.fit()

    # Drawing

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw what is in sight."""
        tokens = self._tokens()
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(tokens.surface))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(self._offset)
        painter.scale(self._zoom, self._zoom)
        top = -self._offset.y() / self._zoom
        bottom = top + self.height() / self._zoom
        tones = {node.row.id: _LINE_TONES[number % 4] for number, node in enumerate(self._graph.networks)}
        boxes = {node.row.id: node.box for node in self._graph.networks}
        for container in self._graph.containers:
            self._draw_lines(painter, container, boxes, tones, tokens, top, bottom)
        for container in self._graph.containers:
            if container.box.y < bottom and container.box.y + container.box.height > top:
                self._draw_container(painter, container, tokens)
        for node in self._graph.networks:
            if node.box.y < bottom and node.box.y + node.box.height > top:
                self._draw_network(painter, node, tones[node.row.id], tokens)
        if self._grabbed is not None:
            self._draw_grabbed(painter, self._grabbed, tokens)
        painter.end()

    def _draw_lines(
        self,
        painter: QPainter,
        container: ContainerNode,
        boxes: dict[str, Box],
        tones: dict[str, str],
        tokens: Tokens,
        top: float,
        bottom: float,
    ) -> None:
        start = QPointF(container.box.right, container.box.middle_y)
        for network in container.addresses:
            box = boxes[network]
            if max(start.y(), box.y + box.height) < top or min(start.y(), box.y) > bottom:
                continue
            is_lit = self._hovered in (container.id, network)
            colour = QColor(getattr(tokens, tones[network]))
            colour.setAlphaF(0.95 if is_lit else 0.45 if not self._hovered else 0.18)
            painter.setPen(QPen(colour, 1.6 if is_lit else 1.0))
            end = QPointF(box.x, box.middle_y)
            path = QPainterPath(start)
            half = (end.x() - start.x()) / 2
            path.cubicTo(start.x() + half, start.y(), end.x() - half, end.y(), end.x(), end.y())
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawPath(path)
        if container.ports_box is not None:
            painter.setPen(QPen(QColor(tokens.line), 1.2))
            painter.drawLine(QPointF(container.ports_box.right, start.y()), QPointF(container.box.x, start.y()))

    def _draw_container(self, painter: QPainter, node: ContainerNode, tokens: Tokens) -> None:
        self._card(painter, node.box, tokens, is_lit=self._hovered == node.id)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(tokens, node.tone)))
        painter.drawEllipse(QRectF(node.box.x + 12, node.box.middle_y - 4, 8, 8))
        address = next((text for text in node.addresses.values() if text), "")
        self._text(painter, node.box, node.name, tokens.text, left=30, right=92 if address else 10, strong=True)
        if address:
            self._text(painter, node.box, address, tokens.muted, left=node.box.width - 96, right=10, to_right=True)
        if node.ports_box is not None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(QColor(tokens.accent_soft))
            box = node.ports_box
            painter.drawRoundedRect(QRectF(box.x, box.y, box.width, box.height), 6, 6)
            self._text(painter, box, ", ".join(node.ports), tokens.accent, left=8, right=8)

    def _draw_network(self, painter: QPainter, node: NetworkNode, tone: str, tokens: Tokens) -> None:
        is_target = self._grabbed is not None and self._network_at(self._pointer) is node
        self._card(painter, node.box, tokens, is_lit=is_target or self._hovered == node.row.id)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(getattr(tokens, tone)))
        painter.drawRoundedRect(QRectF(node.box.x, node.box.y + 8, 4, node.box.height - 16), 2, 2)
        upper = Box(node.box.x, node.box.y + 6, node.box.width, 24)
        lower = Box(node.box.x, node.box.y + 28, node.box.width, 20)
        self._text(painter, upper, node.row.name, tokens.text, left=16, right=10, strong=True)
        about = "  ·  ".join(part for part in (node.row.told_kind, node.row.subnets_text) if part)
        self._text(painter, lower, about, tokens.muted, left=16, right=10)

    def _draw_grabbed(self, painter: QPainter, node: ContainerNode, tokens: Tokens) -> None:
        painter.setPen(QPen(QColor(tokens.accent), 1.6, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(node.box.right, node.box.middle_y), self._pointer)

    def _card(self, painter: QPainter, box: Box, tokens: Tokens, *, is_lit: bool) -> None:
        painter.setPen(QPen(QColor(tokens.accent if is_lit else tokens.line), 1.2))
        painter.setBrush(QColor(tokens.raised))
        painter.drawRoundedRect(QRectF(box.x + 0.5, box.y + 0.5, box.width - 1, box.height - 1), 8, 8)

    def _text(
        self,
        painter: QPainter,
        box: Box,
        text: str,
        colour: str,
        *,
        left: float,
        right: float,
        strong: bool = False,
        to_right: bool = False,
    ) -> None:
        font = QFont(self.font())
        font.setPixelSize(13 if strong else 12)
        font.setWeight(QFont.Weight.Medium if strong else QFont.Weight.Normal)
        painter.setFont(font)
        painter.setPen(QColor(colour))
        area = QRectF(box.x + left, box.y, max(0.0, box.width - left - right), box.height)
        shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, int(area.width()))
        side = Qt.AlignmentFlag.AlignRight if to_right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(area, int(side | Qt.AlignmentFlag.AlignVCenter | Qt.TextFlag.TextSingleLine), shown)

    # Mouse

    def _at(self, point: QPointF) -> QPointF:
        return (point - self._offset) / self._zoom

    def _container_at(self, place: QPointF) -> ContainerNode | None:
        return next((node for node in self._graph.containers if node.box.contains(place.x(), place.y())), None)

    def _network_at(self, place: QPointF) -> NetworkNode | None:
        return next((node for node in self._graph.networks if node.box.contains(place.x(), place.y())), None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Take hold of a container, or of the ground."""
        place = self._at(event.position())
        if event.button() == Qt.MouseButton.LeftButton:
            self._grabbed = self._container_at(place)
            self._pointer = place
            self._moved_from = None if self._grabbed else event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or light up what is under the mouse."""
        place = self._at(event.position())
        if self._grabbed is not None:
            self._pointer = place
        elif self._moved_from is not None:
            self._offset += event.position() - self._moved_from
            self._moved_from = event.position()
            self._is_fitted = False
        else:
            container, network = self._container_at(place), self._network_at(place)
            hovered = container.id if container else network.row.id if network else ""
            if hovered == self._hovered:
                return
            self._hovered = hovered
            self.setCursor(Qt.CursorShape.OpenHandCursor if container else Qt.CursorShape.ArrowCursor)
            self.setToolTip(self._told(container, network))
        self.update()

    def _told(self, container: ContainerNode | None, network: NetworkNode | None) -> str:
        if container is not None:
            names = {node.row.id: node.row.name for node in self._graph.networks}
            return "\n".join(f"{names[key]}: {address or 'no address'}" for key, address in container.addresses.items())
        return network.row.members_text if network is not None else ""

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Connect what was dragged onto a network."""
        grabbed, self._grabbed, self._moved_from = self._grabbed, None, None
        self.unsetCursor()
        if grabbed is not None:
            network = self._network_at(self._at(event.position()))
            if network is not None and network.row.id not in grabbed.addresses:
                self.connected.emit(grabbed.id, network.row.id)
        self.update()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Open a container; on the ground, show everything again."""
        node = self._container_at(self._at(event.position()))
        if node is not None:
            self.opened.emit(node.id)
        else:
            self.fit()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Ask what to do with what is under the mouse."""
        place = self._at(QPointF(event.pos()))
        container, network = self._container_at(place), self._network_at(place)
        if container is not None or network is not None:
            ids = (container.id if container else "", network.row.id if network else "")
            self.asked.emit(*ids, event.globalPos())

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Scroll; zoom with Ctrl, around the mouse."""
        if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            before = self._at(event.position())
            self._zoom = min(_MOST_ZOOM, max(_LEAST_ZOOM, self._zoom * (1.0015 ** event.angleDelta().y())))
            self._offset = event.position() - before * self._zoom
        else:
            self._offset += QPointF(event.angleDelta()) / 2
        self._is_fitted = False
        self.update()
