"""The tables, as migrations: entry N brings a database from version N to N + 1 and is never edited once released."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE containers (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE volumes (name TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE images (id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE tags (reference TEXT PRIMARY KEY, image_id TEXT NOT NULL, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE layers (chain_id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE events (seq INTEGER PRIMARY KEY AUTOINCREMENT, time_ns INTEGER NOT NULL, record BLOB NOT NULL);
    CREATE INDEX events_by_time ON events (time_ns);
    """,
    """
    CREATE TABLE build_cache (key TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE builds (id TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
    """,
)
