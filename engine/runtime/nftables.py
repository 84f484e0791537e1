"""libnftables in process: scripts in nft's own language, each one transaction. Knows no rule of ours.

A context belongs to one thread at a time, and one at a time is worked with: nobody promises that the library
has no state of its own. It is loaded when the first context is made (1.4 MB).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import threading

from engine.errors import Internal, NotSupported

_JSON = 1 << 4
_LIBRARY = "libnftables.so.1"
_in_library = threading.Lock()


class NftablesError(Internal):
    """The kernel or the library refused a script; nothing of it was done."""


class Nftables:
    """One context of libnftables."""

    def __init__(self) -> None:
        """Load the library; raises NotSupported when this host has none."""
        try:
            library = ctypes.CDLL(_LIBRARY)
        except OSError as error:
            raise NotSupported(f"{_LIBRARY} is missing: {error}", hint="install the package libnftables1") from error
        library.nft_ctx_new.restype = ctypes.c_void_p
        library.nft_ctx_new.argtypes = [ctypes.c_uint32]
        for name in ("nft_ctx_buffer_output", "nft_ctx_buffer_error", "nft_ctx_free"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
        for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
            getattr(library, name).argtypes = [ctypes.c_void_p]
            getattr(library, name).restype = ctypes.c_char_p
        library.nft_ctx_output_set_flags.argtypes = [ctypes.c_void_p, ctypes.c_uint]
        library.nft_run_cmd_from_buffer.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        self._library = library
        with _in_library:
            self._context: int | None = library.nft_ctx_new(0)
        if not self._context:
            raise NotSupported("nftables cannot be used: the library found no netlink socket")
        library.nft_ctx_buffer_output(self._context)
        library.nft_ctx_buffer_error(self._context)
        library.nft_ctx_output_set_flags(self._context, _JSON)

    def run(self, script: str) -> str:
        """Run a script (blocking, 0.3 ms and up) and return what it prints, as JSON.

        Raises NftablesError with the library's words.
        """
        with _in_library:
            code = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
        # Both buffers are emptied by reading them, so both are read each time.
        output = self._library.nft_ctx_get_output_buffer(self._context) or b""
        problem = self._library.nft_ctx_get_error_buffer(self._context) or b""
        if code != 0:
            words = " ".join(line.strip() for line in problem.decode(errors="replace").splitlines()[:2])
            raise NftablesError(f"nftables refused a change: {words or f'code {code}'}")
        return str(output.decode(errors="replace"))

    def has_table(self, name: str) -> bool:
        """Whether there is a table of family inet by that name."""
        return f'"name": "{name}"' in self.run("list tables inet")

    def close(self) -> None:
        """Free the context."""
        if self._context:
            with _in_library:
                self._library.nft_ctx_free(self._context)
            self._context = None
