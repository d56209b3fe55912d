"""Any tree of image files with a folder for each class, in a folder or a zip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from PIL import features

from dabo_ray.data.archives import Folder, Tree, Zip
from dabo_ray.data.folders import encoded
from dabo_ray.data.images import DataError
from dabo_ray.data.layout import Layout, find_layout, held_out_kind
from dabo_ray.data.published import Published
from dabo_ray.data.wording import listed, unknown_classes

ENDINGS = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".png", ".apng", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpx"),
    # Newer than the oldest Pillow that is allowed.
    *({".avif"} if features.check("avif") else {}),
}

Row = tuple[str, str | None, str]
"""Name of an image, kind of its split, its class."""


def image_folder(root: Path) -> Published:
    """`root/CLASS/*`, `root/SPLIT/CLASS/*` or `root/CLASS/SPLIT/*`; a folder or a zip.

    Splits have their usual names in any case, see `split_names`; folders above with nothing beside them do not matter.
    The test set is test, else eval, else val, if one of them holds labelled images; all others are the labelled ones.

    Raises:
        DataError: there are no two classes, the folders can be read in two ways, or test has a class of its own.
    """
    tree = open_tree(root)
    images = [name for name in tree.names() if _suffix(name) in ENDINGS]
    layout = find_layout((PurePosixPath(name).parts[:-1] for name in images), root)
    rows = [(name, *place) for name in images if (place := layout.place(PurePosixPath(name).parts[:-1]))]
    test_kind = held_out_kind({kind for _, kind, _ in rows})
    labelled = [row for row in rows if test_kind is None or row[1] != test_kind]
    test = [row for row in rows if test_kind is not None and row[1] == test_kind]
    classes = sorted({label for _, _, label in labelled})
    if len(classes) < 2:
        left = [f"; {line}" for line in left_out(tree)]
        raise DataError(
            f"{root}: looked for images ({', '.join(sorted(ENDINGS))}) in a folder for each class, or below train/, "
            f"val/ and test/; found {len(images)} images and {len(classes)} classes; a data set needs two or more"
            f"{''.join(left)}"
        )
    _check_classes(rows, labelled, test, root)
    numbers = {name: number for number, name in enumerate(classes)}
    parts = tuple(encoded(tree, [n for n, _, _ in part], [numbers[c] for _, _, c in part]) for part in (labelled, test))
    return Published(
        "the image folder",
        tree.fingerprint(images),
        len(classes),
        lambda: (parts[0], parts[1] if test else None),
        streaming=None,
        classes=classes,
        notes=[*_notes(layout, images, rows, root), *(f"{root}: {line}" for line in left_out(tree))],
    )


def open_tree(root: Path) -> Tree:
    """A folder or a zip.

    Raises:
        DataError: it is neither.
    """
    if root.is_dir():
        return Folder(root)
    if root.suffix.lower() == ".zip" and root.is_file():
        return Zip(root)
    raise DataError(f"no image folder: {root} is neither a folder nor a zip; give data.root")


def _check_classes(rows: Sequence[Row], labelled: Sequence[Row], test: Sequence[Row], root: Path) -> None:
    known = {label for _, _, label in labelled}
    if unknown := sorted({label for _, _, label in test} - known):
        raise unknown_classes(unknown, sorted(known), root)
    trained = {label for _, kind, label in rows if kind == "train"} or known
    alike = {label.casefold(): label for label in trained}
    for label in sorted(known - trained):
        if (other := alike.get(label.casefold())) is not None:
            raise DataError(f"{root}: {other} and {label} differ only in case; name the class alike in every split")


def _notes(layout: Layout, images: Sequence[str], rows: Sequence[Row], root: Path) -> list[str]:
    """How the tree was understood, where it is not plain."""
    notes = []
    if layout.top:
        notes.append(f"{root}: what is in it was looked for in {'/'.join(layout.top)}/, below which everything lies")
    if layout.split is not None:
        kinds: Mapping[str, int] = Counter(str(kind) for _, kind, _ in rows)
        notes.append(f"{root}: splits " + ", ".join(f"{kind} ({num:,} images)" for kind, num in sorted(kinds.items())))
    used = {name for name, _, _ in rows}
    if left := [name for name in images if name not in used]:
        where = Counter(
            "/".join(PurePosixPath(name).parts[:-1][: len(layout.top) + 1] or ("its top",)) for name in left
        )
        notes.append(f"{root}: left out {len(left):,} images that are in no class: {_counted(where)}")
    return notes


def left_out(tree: Tree) -> list[str]:
    """Lines on files that are no images by their names."""
    lines = []
    if tree.hidden:
        lines.append(f"skipped {tree.hidden.total():,} hidden or system files and folders: {_counted(tree.hidden)}")
    other = Counter(suffix or "without a suffix" for name in tree.names() if (suffix := _suffix(name)) not in ENDINGS)
    if other:
        lines.append(f"left out {other.total():,} files that are no images by their names: {_counted(other)}")
    return lines


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _counted(counts: Mapping[str, int]) -> str:
    most_first = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return listed([f"{name} ({count:,})" for name, count in most_first])
