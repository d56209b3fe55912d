"""Layouts of trees of image files: which folder of a path is the class, which the split, and which are neither."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dabo_ray.data.images import DataError
from dabo_ray.data.split_names import TEST_KINDS, TRAIN, split_name, splits_among
from dabo_ray.data.wording import listed

Folders = tuple[str, ...]
"""The folders on the way to an image, from the root."""


@dataclass(frozen=True)
class Layout:
    """Places of class and split among the folders of a path."""

    label: int
    """Folder that is the class, counted from the root."""

    split: int | None = None
    """Folder that is the split; None: there is none."""

    kinds: tuple[tuple[str, str], ...] = ()
    """Pairs of a split's folder and its kind."""

    top: Folders = ()
    """Folders above all others, which were descended into."""

    def place(self, folders: Folders) -> tuple[str | None, str] | None:
        """Kind of split and class of an image; None: the image is in neither."""
        if folders[: len(self.top)] != self.top or len(folders) <= self.label:
            return None
        if self.split is None:
            return None, folders[self.label]
        kind = dict(self.kinds).get(folders[self.split])
        return None if kind is None else (kind, folders[self.label])


def find_layout(folders: Iterable[Folders], root: object) -> Layout:
    """The layout of a tree from the folders of its images.

    `CLASS/*`, `SPLIT/CLASS/*` or `CLASS/SPLIT/*`, below any number of folders that have no other beside them.

    Raises:
        DataError: the folders can be read in two ways, or there is none to train on.
    """
    every = sorted({each for each in folders if each})
    top: Folders = ()
    below = every
    while len({each[0] for each in below}) == 1 and any(len(each) > 1 for each in below):
        top = (*top, below[0][0])
        below = [each[1:] for each in below if len(each) > 1]
    heads = _children(below)
    kinds = splits_among(heads, [name for name, inner in heads.items() if inner])
    if kinds:
        return _split_first(below, heads, kinds, top, root)
    _refuse_without_train(heads, root)
    if (level := _split_level(below)) is not None:
        return _class_first(below, level, top, root)
    _refuse_same_subfolders(below, root)
    return Layout(len(top), top=top)


def _children(folders: Iterable[Folders]) -> dict[str, set[str]]:
    """First folder -> second folders."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for each in folders:
        found[each[0]].update(each[1:2])
    return dict(found)


def _split_first(
    folders: Sequence[Folders], heads: dict[str, set[str]], kinds: dict[str, str], top: Folders, root: object
) -> Layout:
    others = sorted(name for name, inner in heads.items() if inner and name not in kinds)
    if set(kinds.values()) == {TRAIN} and others:
        raise DataError(
            f"{root}: {_listed(kinds)} may be a split or a class like {_listed(others)}; rename it if it is a class, "
            "or name the others val or test, or move them away"
        )
    inside = [each for each in folders if each[0] in kinds]
    level = 1
    # seg_train/seg_train/CLASS, train/images/CLASS.
    while _is_alone(inside, level):
        level += 1
    _refuse_same_subfolders([each[level:] for each in inside if len(each) > level], root)
    return Layout(len(top) + level, len(top), tuple(sorted(kinds.items())), top)


def _is_alone(folders: Sequence[Folders], level: int) -> bool:
    """Whether every split has a single folder at this level, which holds folders."""
    inner: defaultdict[str, set[str]] = defaultdict(set)
    deeper = set()
    for each in folders:
        if len(each) > level:
            inner[each[0]].add(each[level])
        if len(each) > level + 1:
            deeper.add(each[0])
    return bool(inner) and all(len(names) == 1 for names in inner.values()) and deeper == set(inner)


def _split_level(folders: Sequence[Folders]) -> int | None:
    """The level below the first at which every folder is a split, with one to train on and another."""
    for level in range(1, min(map(len, folders), default=0)):
        found = [split_name(each[level]) for each in folders]
        kinds = {name.kind for name in found if name}
        if None not in found and TRAIN in kinds and len(kinds) > 1:
            return level
    return None


def _class_first(folders: Sequence[Folders], level: int, top: Folders, root: object) -> Layout:
    if level > 1 or any(len(each) > 2 for each in folders):
        example = "/".join(next(each for each in folders if len(each) > level))
        raise DataError(
            f"{root}: there are folders above and below the splits, such as {example}/, so it is not clear which are "
            "the classes; give a data.root with train/CLASS/ and test/CLASS/ directly in it"
        )
    names = {each[1] for each in folders}
    kinds = sorted((name, found.kind) for name in names if (found := split_name(name)))
    return Layout(len(top), len(top) + 1, tuple(kinds), top)


def _refuse_without_train(heads: dict[str, set[str]], root: object) -> None:
    if len(heads) < 2 or not all((found := split_name(name)) and found.is_plain for name in heads):
        return
    if any(heads.values()):
        raise DataError(f"{root}: has {_listed(heads)}, and none of them to train on; name one of them train")
    raise DataError(
        f"{root}: the images lie directly in {_listed(heads)}, so nothing says their classes; put those of each class "
        "into a folder of its name, such as train/CLASS/"
    )


def _refuse_same_subfolders(folders: Sequence[Folders], root: object) -> None:
    """What looks like classes may be splits, folds or patients with the classes below."""
    heads = _children(folders)
    divided = [name for name, inner in heads.items() if {s.kind for i in inner if (s := split_name(i))} > {TRAIN}]
    if divided and len(heads) > 1:
        raise DataError(
            f"{root}: there are folders for splits beside others ({divided[0]}/ holds {_listed(heads[divided[0]])}), "
            "so it is not clear which are the classes; make it train/CLASS/ and test/CLASS/ directly in data.root"
        )
    if len(heads) < 2 or {each[0] for each in folders if len(each) == 1} == set(heads):
        return
    shared = set.intersection(*heads.values())
    pairs, names = sum(map(len, heads.values())), set.union(*heads.values())
    if len(shared) > 1 or (len(names) > 1 and all(heads.values()) and 2 * len(names) <= pairs):
        raise DataError(
            f"{root}: the folders {_listed(heads)} have the same folders inside ({_listed(shared or names)}), so it is "
            "not clear which are the classes. For splits, name them train, val and test; otherwise put the images of "
            "each class into one folder of its name"
        )


def _listed(names: Collection[str]) -> str:
    return listed([f"{name}/" for name in sorted(names)])


def held_out_kind(kinds: Collection[str | None]) -> str | None:
    """The split that is the test set, of those that hold labelled images; None: there is none."""
    return next((kind for kind in TEST_KINDS if kind in kinds), None)
