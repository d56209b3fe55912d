"""Files of a data set where they lie: in a folder, a tar or a zip, which are never unpacked."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG
from typing import Protocol

from dabo_ray.data.hidden import hidden_part
from dabo_ray.data.images import DataError
from dabo_ray.data.published import fingerprint, fingerprint_of

_BROKEN = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


class Tree(Protocol):
    """Named files; names are relative, with `/`. Those that are hidden or of the system are left out."""

    path: Path
    """The folder or the archive."""

    hidden: Counter[str]
    """What was left out, by the part of its name that is hidden."""

    def names(self) -> Sequence[str]:
        """Of all files, sorted."""

    def read(self, name: str) -> bytes:
        """The content of a file."""

    def fingerprint(self, names: Iterable[str]) -> str:
        """Changes when one of these files does, also when it is overwritten where it lies."""


class Folder:
    """The files below a folder, through links too.

    Raises:
        DataError: a folder below cannot be read, or a name is not UTF-8.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden: Counter[str] = Counter()
        self._stats: dict[str, tuple[int, int]] = {}
        folders = [""]
        while folders:
            prefix = folders.pop()
            try:
                with os.scandir(path / prefix) as entries:
                    folders += [inner for entry in entries if (inner := self._add(entry, prefix))]
            except OSError as error:
                raise DataError(f"{path / prefix} cannot be read ({error.strerror}); look at its permissions") from None

    def _add(self, entry: os.DirEntry[str], prefix: str) -> str | None:
        """Notes a file; of a folder that is to be looked into, its prefix."""
        name = f"{prefix}{entry.name}"
        if (part := hidden_part(entry.name)) is not None:
            self.hidden[part] += 1
            return None
        if not entry.name.isprintable() and "\udc80" <= max(entry.name) <= "\udcff":
            raise DataError(f"{self.path}: the name {os.fsencode(name)!r} is not UTF-8; rename it")
        try:
            stat = entry.stat()
        except FileNotFoundError:
            self.hidden["links to nowhere"] += 1
            return None
        if S_ISDIR(stat.st_mode):
            # A link to a folder above would never end.
            above = entry.is_symlink() and f"{Path(entry.path).parent.resolve()}/".startswith(
                f"{Path(entry.path).resolve()}/"
            )
            return None if above else f"{name}/"
        if S_ISREG(stat.st_mode):
            self._stats[name] = stat.st_size, stat.st_mtime_ns
        return None

    def names(self) -> list[str]:
        """Of all files below, sorted."""
        return sorted(self._stats)

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it is not there or cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read ({error.strerror}); get the files again") from None

    def fingerprint(self, names: Iterable[str]) -> str:
        """Of names, sizes and times of change."""
        return fingerprint((name, *self._stats[name]) for name in names)


class Zip:
    """The members of a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden: Counter[str] = Counter()
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise _damaged(path, error) from None
        members = self._zip.infolist()
        # The upper half of the attributes is the Unix mode, and 0o12 there marks a link.
        links = [member.filename for member in members if member.external_attr >> 28 == 0o12]
        _refuse_escapes(path, [member.filename for member in members], links)
        self._names = []
        for name in sorted(member.filename for member in members if not member.is_dir()):
            if (part := hidden_part(name)) is not None:
                self.hidden[part] += 1
            else:
                self._names.append(name)

    def names(self) -> list[str]:
        """Of all members, sorted."""
        return self._names

    def read(self, name: str) -> bytes:
        """The content of a member, checked against its CRC.

        Raises:
            DataError: it is not there or damaged.
        """
        try:
            return self._zip.read(name)
        except KeyError:
            raise DataError(f"{self.path} has no member {name}; get the archive again") from None
        except _BROKEN as error:
            raise _damaged(self.path, error) from None

    def fingerprint(self, names: Iterable[str]) -> str:
        """Of the archive."""
        return fingerprint_of([self.path])


def read_tar(path: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """The wanted members of a tar, compressed or not, in one pass.

    Raises:
        DataError: it is damaged, lacks one of them, or holds a link or a member that would leave its folder.
    """
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                _refuse_escapes(path, [member.name], [member.name] if not (member.isfile() or member.isdir()) else [])
                if member.name in wanted and (file := archive.extractfile(member)) is not None:
                    found[member.name] = file.read()
    except _BROKEN as error:
        raise _damaged(path, error) from None
    if missing := sorted(set(wanted) - found.keys()):
        raise DataError(f"{path} has no member {', '.join(missing)}; get the archive again")
    return found


def check_md5(path: Path, expected: str) -> None:
    """Compares a file with its published checksum.

    Raises:
        DataError: it is another.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is truncated or another file: its MD5 is {found}, the published one {expected}; get it again"
        )


def _refuse_escapes(path: Path, names: Sequence[str], links: Sequence[str]) -> None:
    for name in names:
        if name.startswith(("/", "\\")) or ":" in name[:3] or ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise DataError(f"{path} is hostile: its member {name!r} would leave the folder; nothing was read from it")
    if links:
        raise DataError(f"{path} is not as published: its member {links[0]!r} is a link or a device; get it again")


def _damaged(path: Path, error: BaseException) -> DataError:
    return DataError(f"{path} cannot be read ({error or type(error).__name__}); it is damaged, get it again")
