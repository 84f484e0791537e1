"""The process that answers names at 127.0.0.11: started with ``python -I -S``, outlives the engine.

It serves two sockets in each container's network namespace (port 53 is translated to them there), knows
the names of all networks, and passes other queries on (``nameserver/``). It imports nothing else of ours.

On descriptor 3 it inherits a listening SOCK_SEQPACKET socket. A command of the engine is a marshalled
tuple in one or more packets, ``+`` before each part that is followed by another and ``.`` before the last,
which carries the descriptors:

    ("join", CONTAINER, NAMESPACE INODE, STATE) with a UDP and a listening TCP socket   no answer
    ("know", CONTAINER, STATE)      replaces what is known of a container
    ("leave", CONTAINER)            closes its sockets and forgets its names
    ("list",)      answered by ("has", [(CONTAINER, NAMESPACE INODE), …]) packets, then ("end", VERSION)
    ("quit",)      ends the process

Without being asked it says ("trouble", TEXT) for an error that nobody expected. STATE is in
``nameserver/zones.py``. It ends by itself when it serves nothing and no engine is connected.
"""

from __future__ import annotations

import sys

VERSION = 1
"""Of the protocol: a process that speaks another one is ended by the engine and started anew."""


_MANY = 1 << 20


def raise_limits() -> int:
    """Allow as many descriptors as the hard limit does: each container takes two, each query on its way one."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard > 0 else _MANY


def main() -> None:
    """Serve names."""
    sys.path.insert(0, __file__.rpartition("/engine/")[0])
    import _socket

    from engine.networks.nameserver.server import Server

    descriptors = raise_limits()
    control = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET, 0, 3)
    control.listen(8)  # from now on peers see this process, not the engine that made the socket
    Server(control, descriptors).run()


if __name__ == "__main__":
    main()
