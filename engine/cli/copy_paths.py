"""The paths of ``cp``: which side is the container's, where a copy goes and what its members are called.

Docker's rules, without I/O but looking at local files: what ends with ``/`` or ``/.`` is a folder, a folder is
copied into a folder that is there and takes the name of one that is not.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass

from engine.cli.failures import CommandError

_MAX_LINKS = 10


@dataclass(frozen=True)
class CopyEnd:
    """One end of a copy. ``rebase`` is the name to use when a link was followed to another."""

    path: str
    exists: bool = True
    is_folder: bool = False
    rebase: str = ""


def split_argument(argument: str) -> tuple[str, str]:
    """Return (container, path) of an argument; no container for a local path."""
    container, found, path = argument.partition(":")
    if argument.startswith("/") or not found or container.startswith("."):
        return "", argument
    return container, path


def keep_ending(cleaned: str, path: str) -> str:
    """Return a cleaned path with the ``/`` or ``/.`` that the original ends with."""
    is_here = path == "." or path.endswith("/.")
    if is_here and cleaned != "." and not cleaned.endswith("/."):
        cleaned = cleaned.rstrip("/") + "/."
    if path.endswith("/") and not cleaned.endswith("/"):
        cleaned += "/"
    return cleaned


def split_entry(path: str) -> tuple[str, str]:
    """Return (folder, name) of a path; the name is ``.`` when the path ends so, ``/`` for the root."""
    cleaned = _clean(path)
    if path == "." or path.endswith("/."):
        return cleaned, "."
    folder, _, name = cleaned.rpartition("/")
    if cleaned == "/":
        return "/", "/"
    return folder or ("/" if cleaned.startswith("/") else "."), name


def local_path(path: str) -> str:
    """Return an absolute local path that keeps its ending."""
    return keep_ending(os.path.abspath(path), path)  # noqa: PTH100 - pathlib loses the ending


def rebased(path: str, found: str) -> tuple[str, str]:
    """Return where a link led, with the ending of ``path``, and the name to use when that differs."""
    found = keep_ending(found, path)
    name = _base(path)
    return found, name if name != _base(found) else ""


def local_source(path: str, *, follow: bool) -> CopyEnd:
    """Look at a local source; links in its folder are followed, one at its end with ``follow``.

    Raises CommandError with Go's text when there is nothing.
    """
    try:
        if follow:
            found, rebase = rebased(path, os.path.realpath(path, strict=True))
        else:
            folder, _, name = path.rpartition("/")
            found = f"{os.path.realpath(folder or '/', strict=True).rstrip('/')}/{name}"
            rebase = _base(path) if path.endswith("/") and _base(path) != _base(found) else ""
        info = os.lstat(found)
    except NotADirectoryError as error:
        raise CommandError("not a directory") from error
    except OSError as error:
        raise CommandError(f"lstat {path}: {(error.strerror or str(error)).lower()}") from error
    return CopyEnd(found, is_folder=stat.S_ISDIR(info.st_mode), rebase=rebase)


def local_target(path: str) -> CopyEnd:
    """Look at a local target; links are followed, and what it is in must be there."""
    given = path
    for _ in range(_MAX_LINKS):
        try:
            info = os.lstat(path)
        except FileNotFoundError:
            folder = split_entry(path)[0]
            if not os.path.isdir(folder):  # noqa: PTH112 - no Path for one question
                is_missing = not os.path.lexists(folder)
                raise CommandError(
                    f"stat {folder}: no such file or directory" if is_missing else "not a directory"
                ) from None
            return CopyEnd(path, exists=False)
        except OSError as error:
            raise CommandError(f"lstat {path}: {(error.strerror or str(error)).lower()}") from error
        if not stat.S_ISLNK(info.st_mode):
            return CopyEnd(path, is_folder=stat.S_ISDIR(info.st_mode))
        found = os.readlink(path.rstrip("/"))  # noqa: PTH115 - the text, not a path
        path = found if found.startswith("/") else _clean(f"{split_entry(path)[0]}/{found}")
    raise CommandError(f"too many symlinks in {given}")


def check_output(path: str) -> None:
    """Raise CommandError with Docker's text where a local target cannot be written to."""
    folder = split_entry(_clean(path))[0]
    if not os.path.exists(folder):  # noqa: PTH110
        raise CommandError(f'invalid output path: directory "{folder}" does not exist')
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"stat {path}: {(error.strerror or str(error)).lower()}") from error
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        raise CommandError(f'invalid output path: "{path}" must be a directory or a regular file: got a device')


def plan_copy(source: CopyEnd, target: CopyEnd) -> tuple[str, str, str]:
    """Return the folder to unpack into, the name that members begin with, and the one that they shall.

    Raises CommandError with Docker's texts where a copy makes no sense.
    """
    folder, name = split_entry(target.path)
    base = source.rebase or split_entry(source.path)[1]
    if target.exists and target.is_folder:
        return target.path, base, base
    if target.exists and source.is_folder:
        raise CommandError("cannot copy directory")
    if not target.exists and not source.is_folder and (target.path.endswith(("/", "/.")) or target.path == "."):
        raise CommandError("no such directory")
    return folder, base, name


def renaming(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return what puts ``new`` in the place of ``old`` at the beginning of members' names."""
    before, after = os.fsencode("" if old == "/" else old), os.fsencode(new)

    def rename(name: bytes) -> bytes:
        return after + name[len(before) :] if name.startswith(before) else name

    return rename


def _clean(path: str) -> str:
    cleaned = os.path.normpath(path) if path else "."
    return "/" + cleaned.lstrip("/") if cleaned.startswith("//") else cleaned


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2] or ("/" if path else ".")
