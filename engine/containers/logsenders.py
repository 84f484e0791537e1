"""Receivers of log lines: syslog by RFC 3164 and 5424, journald by its own protocol. Used by ``logforwarder``.

It imports nothing of ours, so that the process that sends logs stays small.
"""

import fcntl
import os
import socket
import struct
import time

SEND_S = 10.0
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
JOURNAL = "/run/systemd/journal/socket"
LOCAL_SYSLOGS = ("/dev/log", "/var/run/syslog", "/var/run/log")
INFO, ERROR = 6, 3
EMSGSIZE, ENOBUFS = 90, 105
F_ADD_SEALS, ALL_SEALS = 1033, 0xF


class Unsent(Exception):
    """The receiver cannot be reached now."""


class Syslog:
    """One receiver of syslog messages for one container."""

    def __init__(self, task: dict[str, object]) -> None:
        """``task`` has protocol, address, facility, format, tag and, for TLS, the files."""
        self.task = task
        self.connection: socket.socket | None = None
        self.is_datagram = False

    def connect(self) -> None:
        """Connect; raises Unsent."""
        protocol, address = str(self.task["protocol"]), str(self.task["address"])
        try:
            self.connection = self._local() if not protocol else self._remote(protocol, address)
        except (OSError, ValueError) as error:
            raise Unsent(str(error)) from error
        self.connection.settimeout(SEND_S)
        self.is_datagram = self.connection.type == socket.SOCK_DGRAM

    def _local(self) -> socket.socket:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            for path in LOCAL_SYSLOGS:
                found = socket.socket(socket.AF_UNIX, kind)
                try:
                    found.connect(path)
                except OSError:
                    found.close()
                else:
                    return found
        raise OSError("Unix syslog delivery error")

    def _remote(self, protocol: str, address: str) -> socket.socket:
        if protocol in ("unix", "unixgram"):
            kind = socket.SOCK_STREAM if protocol == "unix" else socket.SOCK_DGRAM
            found = socket.socket(socket.AF_UNIX, kind)
            found.connect(address)
            return found
        host, _, port = address.rpartition(":")
        if protocol != "udp":
            plain = socket.create_connection((host.strip("[]"), int(port)), SEND_S)
            return self._secure(plain, host.strip("[]")) if protocol == "tcp+tls" else plain
        family, kind, number, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
        found = socket.socket(family, kind, number)
        found.connect(place)
        return found

    def _secure(self, plain: socket.socket, host: str) -> socket.socket:
        import ssl

        context = ssl.create_default_context(cafile=str(self.task["ca"]) if self.task.get("ca") else None)
        if self.task.get("skip_verify"):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.task.get("cert"):
            context.load_cert_chain(str(self.task["cert"]), str(self.task["key"]))
        return context.wrap_socket(plain, server_hostname=host)

    def send(self, stamp: str, is_error: bool, text: bytes, ordinal: int) -> None:
        """Send one line; raises Unsent."""
        if self.connection is None:
            self.connect()
        data = self.encode(stamp, is_error, text)
        try:
            if self.connection is not None:
                self.connection.sendall(data)
        except OSError as error:
            if error.errno == EMSGSIZE:  # no datagram holds it, and none ever will
                return
            self.close()
            raise Unsent(str(error)) from error

    def encode(self, stamp: str, is_error: bool, text: bytes) -> bytes:
        """Return a message: RFC 3164 as local syslogs take it, RFC 3164 with the host, or RFC 5424."""
        task = self.task
        priority = int(str(task["facility"])) | (ERROR if is_error else INFO)
        tag, form, pid = task["tag"], task["format"], os.getpid()
        seconds, micros = parse_stamp(stamp)
        local = time.localtime(seconds)
        host = socket.gethostname()
        if form in ("rfc5424", "rfc5424micro"):
            moment = time.strftime("%Y-%m-%dT%H:%M:%S", local)
            if form == "rfc5424micro":
                moment += f".{micros:06d}"
            zone = time.strftime("%z", local)
            moment += "Z" if zone == "+0000" else f"{zone[:3]}:{zone[3:]}"
            head = f"<{priority}>1 {moment} {host} {tag} {pid} {tag} - "
        else:
            moment = f"{MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} {time.strftime('%H:%M:%S', local)}"
            head = f"<{priority}>{moment} {host + ' ' if form == 'rfc3164' else ''}{tag}[{pid}]: "
        data = head.encode(errors="surrogateescape") + text + b"\n"
        if str(form).startswith("rfc5424") and task["protocol"] == "tcp+tls":
            data = b"%d %s" % (len(data), data)
        return data

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Journal:
    """journald, for one container."""

    def __init__(self, task: dict[str, object]) -> None:
        """``task`` has fields, a dictionary of what goes with each line."""
        self.task = task
        self.connection: socket.socket | None = None

    def send(self, stamp: str, is_error: bool, text: bytes, ordinal: int) -> None:
        """Send one line; raises Unsent."""
        data = self.encode(stamp, is_error, text, ordinal)
        try:
            if self.connection is None:
                self.connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                self.connection.settimeout(SEND_S)
                self.connection.connect(str(self.task.get("address") or JOURNAL))
            try:
                self.connection.send(data)
            except OSError as error:
                if error.errno not in (EMSGSIZE, ENOBUFS):  # a memory file carries what is larger
                    raise
                self._send_by_file(data)
        except OSError as error:
            self.close()
            raise Unsent(str(error)) from error

    def _send_by_file(self, data: bytes) -> None:
        descriptor = os.memfd_create("line", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            os.write(descriptor, data)
            fcntl.fcntl(descriptor, F_ADD_SEALS, ALL_SEALS)  # as journald wants it
            if self.connection is not None:
                socket.send_fds(self.connection, [b""], [descriptor])
        finally:
            os.close(descriptor)

    def encode(self, stamp: str, is_error: bool, text: bytes, ordinal: int) -> bytes:
        """Return the fields in journald's native form."""
        fields = [("PRIORITY", str(ERROR if is_error else INFO).encode()), ("MESSAGE", text)]
        listed = self.task.get("fields")
        if isinstance(listed, dict):
            fields += [(str(name), str(value).encode(errors="surrogateescape")) for name, value in listed.items()]
        fields += [("SYSLOG_TIMESTAMP", stamp.encode()), ("CONTAINER_LOG_ORDINAL", str(ordinal).encode())]
        parts = []
        for name, value in fields:
            if b"\n" in value:
                parts.append(name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n")
            else:
                parts.append(name.encode() + b"=" + value + b"\n")
        return b"".join(parts)

    def close(self) -> None:
        """Close the connection."""
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def parse_stamp(stamp: str) -> tuple[int, int]:
    """Return seconds since 1970 and microseconds of conmon's time; now where it is damaged."""
    try:
        seconds = calendar_seconds(stamp[:19])
        return seconds, int(stamp[20:26])
    except ValueError:
        return int(time.time()), 0


def calendar_seconds(text: str) -> int:
    """Return seconds since 1970 of ``2026-11-24T11:45:53`` in UTC."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    hour, minute, second = int(text[11:13]), int(text[14:16]), int(text[17:19])
    # Days of the civil calendar, from March on, so that the leap day comes last.
    year -= month <= 2
    era_day = 365 * year + year // 4 - year // 100 + year // 400 + (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return (era_day - 719468) * 86400 + hour * 3600 + minute * 60 + second
