"""Files of a data set where they lie: in a folder, a tar or a zip, which are never unpacked."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from dabo_ray.data.images import DataError

_BROKEN = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


class Tree(Protocol):
    """Named files; names are relative, with `/`."""

    path: Path
    """The folder or the archive."""

    def names(self) -> Sequence[str]:
        """Of all files, sorted."""

    def read(self, name: str) -> bytes:
        """The content of a file."""


class Folder:
    """The files below a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self) -> list[str]:
        """Of all files below, sorted."""
        return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())

    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            DataError: it is not there or cannot be read.
        """
        try:
            return (self.path / name).read_bytes()
        except OSError as error:
            raise DataError(f"{self.path / name} cannot be read ({error.strerror}); get the files again") from None


class Zip:
    """The members of a zip."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except _BROKEN as error:
            raise _damaged(path, error) from None
        members = self._zip.infolist()
        # The upper half of the attributes is the Unix mode, and 0o12 there marks a link.
        links = [member.filename for member in members if member.external_attr >> 28 == 0o12]
        _refuse_escapes(path, [member.filename for member in members], links)
        self._names = sorted(member.filename for member in members if not member.is_dir())

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
