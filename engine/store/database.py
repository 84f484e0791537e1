"""The database: writes in a thread of their own with group commit, reads where they are asked for.

Knows SQLite and nothing of what is stored.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import Internal, Unavailable
from engine.store.schema import MIGRATIONS

T = TypeVar("T")
Statement = tuple[str, tuple[Any, ...]]


class Database:
    """A SQLite file in WAL mode with ``synchronous=FULL``.

    ``write`` returns when its transaction is on the disk; writes that wait together share one commit.
    ``write_soon`` goes with the next commit and is lost when the machine dies before it. Both keep
    their order. ``read`` runs at once in the caller's thread on a connection for reading.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the database at ``path`` and bring its schema up to date (blocking, a few ms).

        Raises Internal when the file is not a database or comes from a newer Portside.
        """
        self._path = path
        self._writer = self._connect()
        self._migrate()
        self._reader = self._connect()
        self._pending: deque[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any] | None]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="database", daemon=True)
        self._thread.start()

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=10)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
        except sqlite3.OperationalError as error:
            raise Unavailable(
                f"database {self._path}: {error}", hint="free disk space or check its permissions"
            ) from error
        except sqlite3.DatabaseError as error:
            raise Internal(f"database {self._path}: {error}", hint="restore it from a copy or move it away") from error
        return connection

    def _migrate(self) -> None:
        version = int(self._writer.execute("PRAGMA user_version").fetchone()[0])
        if version > len(MIGRATIONS):
            raise Internal(
                f"database {self._path} has schema {version}, this engine knows {len(MIGRATIONS)}",
                hint="use the newer Portside that wrote it",
            )
        for number in range(version, len(MIGRATIONS)):
            self._writer.executescript(f"BEGIN; {MIGRATIONS[number]}; PRAGMA user_version={number + 1}; COMMIT;")

    def read(self, sql: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows; sees every write that has returned."""
        return self._reader.execute(sql, tuple(parameters)).fetchall()

    async def write(self, change: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``change`` in a transaction; return its result once it is durable.

        When it raises, its own statements are rolled back and the exception comes here; SQLite's
        own errors (a full disk) come as Unavailable. Cancelling the caller does not undo the write.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._enqueue(change, future)
        return await future

    async def execute(self, *statements: Statement) -> None:
        """Run ``(sql, parameters)`` pairs in one durable transaction."""

        def change(connection: sqlite3.Connection) -> None:
            for sql, parameters in statements:
                connection.execute(sql, parameters)

        await self.write(change)

    def write_soon(self, *statements: Statement) -> None:
        """Run ``(sql, parameters)`` pairs with the next commit, without waiting for it."""

        def change(connection: sqlite3.Connection) -> None:
            for sql, parameters in statements:
                connection.execute(sql, parameters)

        self._enqueue(change, None)

    def _enqueue(self, change: Callable[[sqlite3.Connection], Any], future: asyncio.Future[Any] | None) -> None:
        with self._wake:
            if self._closing:
                raise Unavailable("the database is closed: the engine is stopping")
            self._pending.append((change, future))
            self._wake.notify()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._pending and not self._closing:
                    self._wake.wait()
                batch = list(self._pending)
                self._pending.clear()
                if not batch:
                    return
            self._commit(batch)

    def _commit(self, batch: list[tuple[Callable[[sqlite3.Connection], Any], asyncio.Future[Any] | None]]) -> None:
        outcomes: list[tuple[asyncio.Future[Any], Any, BaseException | None]] = []
        connection = self._writer
        failure: BaseException | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change, future in batch:
                connection.execute("SAVEPOINT one")
                result: Any = None
                failed: BaseException | None = None
                try:
                    result = change(connection)
                except Exception as raised:  # noqa: BLE001 - handed to the caller below
                    failed = raised
                    if connection.in_transaction:
                        connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
                if future is not None:
                    outcomes.append((future, result, failed))
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            failure = error
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        if failure is not None:
            outcomes = [(future, None, failure) for _, future in batch if future is not None]
        for future, result, problem in outcomes:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_settle, future, result, self._translate(problem))

    def _translate(self, error: BaseException | None) -> BaseException | None:
        if not isinstance(error, sqlite3.Error) or isinstance(error, sqlite3.IntegrityError):
            return error
        translated = Unavailable(f"database {self._path}: {error}", hint="free disk space, then try again")
        translated.__cause__ = error
        return translated

    def close(self) -> None:
        """Commit what is pending, then close (blocking)."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout=10)
        self._reader.close()
        self._writer.close()


def _settle(future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
