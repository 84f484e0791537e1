"""Docker's framing of several streams in one: an 8-byte head (stream, three zeros, length in big endian), then data.

Source: Engine API, ``ContainerAttach``, "Stream format". Without I/O.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.errors import InvalidArgument

STDIN, STDOUT, STDERR, SYSTEM_ERROR = 0, 1, 2, 3
HEAD_BYTES = 8
MAX_FRAME_BYTES = 64 * 1024 * 1024


def encode_frame(stream: int, data: bytes) -> bytes:
    """Return one frame."""
    return b"%c\0\0\0" % stream + len(data).to_bytes(4, "big") + data


class FrameDecoder:
    """Takes frames apart as their bytes come in, however they are cut."""

    def __init__(self) -> None:
        """Begin between two frames."""
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield (stream, data) of each frame that is whole.

        Raises InvalidArgument for a stream number that does not exist or a frame above 64 MiB: then these
        bytes are no frames.
        """
        self._buffer += data
        offset = 0
        while len(self._buffer) - offset >= HEAD_BYTES:
            stream = self._buffer[offset]
            size = int.from_bytes(self._buffer[offset + 4 : offset + HEAD_BYTES], "big")
            if stream > SYSTEM_ERROR or size > MAX_FRAME_BYTES:
                raise InvalidArgument(f"not a multiplexed stream: stream {stream}, {size} bytes")
            end = offset + HEAD_BYTES + size
            if len(self._buffer) < end:
                break
            yield stream, bytes(self._buffer[offset + HEAD_BYTES : end])
            offset = end
        del self._buffer[:offset]

    @property
    def is_whole(self) -> bool:
        """Whether the last frame has come in completely."""
        return not self._buffer
