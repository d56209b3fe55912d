"""A CSV of image files and their labels, optionally with their splits and more columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from dabo_ray.data.csv_rows import Row, csv_rows
from dabo_ray.data.images import DataError
from dabo_ray.data.labels import Label, number_classes, numbering_note
from dabo_ray.data.layout import held_out_kind
from dabo_ray.data.published import Encoded, Published, fingerprint
from dabo_ray.data.split_names import split_name
from dabo_ray.data.wording import listed

FILE, LABEL, SPLIT = "file", "label", "split"


def csv_files(root: Path) -> Published:
    """Lines of `file,label`, with any other columns beside; files are looked for from the CSV's folder.

    With a column `split` its usual names, see `split_names`, in any case: the test set is test, else eval, else val;
    all other lines are the labelled images.

    Raises:
        DataError: it cannot be read, files are missing or named twice, or labels cannot be used.
    """
    if root.suffix.lower() != ".csv" or not root.is_file():
        raise DataError(f"no CSV of images: {root} is no file *.csv; give data.root")
    head, rows = _table(root)
    places = {column: place for place, column in enumerate(head)}
    names = [row[places[FILE]] for _, row in rows]
    _check_files(root, rows, names)
    kinds = [_kind(root, row, places.get(SPLIT)) for row in rows]
    test_kind = held_out_kind(set(kinds))
    labels = _labels([row[places[LABEL]] for _, row in rows])
    is_test = [test_kind is not None and kind == test_kind for kind in kinds]
    if all(is_test):
        raise DataError(f"{root}: all {len(rows):,} lines are of the split {test_kind}, none is to train on")
    numbers = number_classes(
        [label for label, held in zip(labels, is_test, strict=True) if not held],
        [label for label, held in zip(labels, is_test, strict=True) if held],
        str(root),
    )
    others = [column for column in head if column not in (FILE, LABEL, SPLIT)]

    def part(held: bool) -> Encoded:
        chosen = [place for place, each in enumerate(is_test) if each is held]
        columns = {column: [rows[place][1][places[column]] for place in chosen] for column in others}
        files = [names[place] for place in chosen]
        return Encoded(files, [numbers[labels[place]] for place in chosen], _reader(root, files), columns=columns)

    stats = ((name, stat.st_size, stat.st_mtime_ns) for name in names for stat in [(root.parent / name).stat()])
    return Published(
        "the CSV of images",
        fingerprint([*stats, *((f"{label} {held}", None, 0) for label, held in zip(labels, is_test, strict=True))]),
        len(numbers),
        lambda: (part(False), part(True) if any(is_test) else None),
        streaming=None,
        classes=[*map(str, numbers)],
        notes=[*_notes(root, kinds), *numbering_note(numbers, str(root))],
    )


def _reader(root: Path, files: Sequence[str]) -> Callable[[int], bytes]:
    def read(place: int) -> bytes:
        try:
            return (root.parent / files[place]).read_bytes()
        except OSError as error:
            raise DataError(f"{files[place]} cannot be read ({error.strerror or error})") from None

    return read


def _table(root: Path) -> tuple[list[str], list[Row]]:
    """Names of the columns in small letters, and the lines below."""
    (_, first), *rows = csv_rows(root, (FILE, LABEL)) or [(1, [])]
    head = [cell.casefold() for cell in first]
    if missing := [column for column in (FILE, LABEL) if column not in head]:
        raise DataError(
            f"{root}: the first line must name the columns, {FILE} and {LABEL} among them and {SPLIT} if there is one, "
            f"separated by commas; it has no {' and no '.join(missing)}: {','.join(first) or 'it is empty'}"
        )
    if twice := [column for column, times in Counter(head).items() if times > 1]:
        raise DataError(f"{root}: the first line names the column {twice[0]} twice; rename one of them")
    if short := [line for line, row in rows if len(row) != len(head)]:
        raise DataError(
            f"{root}, line {short[0]}: does not have the {len(head)} columns of the first line ({','.join(first)}); "
            "put names with a comma into quotes"
        )
    return head, rows


def _check_files(root: Path, rows: Sequence[Row], names: Sequence[str]) -> None:
    lines: dict[Path, int] = {}
    for (line, _), name in zip(rows, names, strict=True):
        first = lines.setdefault(root.parent / name, line)
        if first != line:
            raise DataError(f"{root}, lines {first} and {line}: both are {name}; keep one of them")
    if missing := [name for name in names if not name or not (root.parent / name).is_file()]:
        raise DataError(
            f"{root} names {len(missing):,} of {len(names):,} files that are not there: {listed(missing)}; write paths "
            f"as seen from {root.parent}/"
        )


def _kind(root: Path, row: Row, place: int | None) -> str | None:
    if place is None:
        return None
    line, cells = row
    found = split_name(cells[place])
    if found is None or not found.is_plain:
        raise DataError(f"{root}, line {line}: the split is {cells[place]!r}; write train, val, eval or test")
    return found.kind


def _labels(texts: Sequence[str]) -> list[Label]:
    """Whole numbers if all are; an empty cell is no label."""
    told = [text for text in texts if text]
    if all(text.removeprefix("-").isdecimal() for text in told):
        return [int(text) if text else None for text in texts]
    return [text or None for text in texts]


def _notes(root: Path, kinds: Sequence[str | None]) -> list[str]:
    counts: Mapping[str, int] = Counter(kind for kind in kinds if kind is not None)
    if not counts:
        return []
    return [f"{root}: splits " + ", ".join(f"{kind} ({num:,} images)" for kind, num in sorted(counts.items()))]
