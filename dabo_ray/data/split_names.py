"""Names of folders and files that stand for a split: train, Training, TEST, val_images, mnist_test, split=dev."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import NamedTuple

TRAIN, VAL, EVAL, TEST = "train", "val", "eval", "test"

TEST_KINDS = (TEST, EVAL, VAL)
"""Of the splits that are there, the first of these is the test set; all others are labelled images."""

_WORDS = {
    **dict.fromkeys(("train", "training", "trainings", "trn", "trainval", "trainvalid", "trainvalidation"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "validating", "validate", "vld"), VAL),
    **dict.fromkeys(("dev", "devel", "development"), VAL),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "evaluating"), EVAL),
    **dict.fromkeys(("test", "testing", "tests", "tst", "holdout", "heldout"), TEST),
}
_NOISE = {
    *("set", "sets", "data", "dataset", "datasets", "split", "splits", "part", "folder", "folders", "files", "of"),
    *("image", "images", "img", "imgs", "picture", "pictures", "pics", "photo", "photos", "sample", "samples"),
}
_NOISE_ENDING = re.compile(r"(?<=.)(?:data)?(?:sets?|data|images|imgs)$")


class SplitName(NamedTuple):
    """A name that may stand for a split."""

    kind: str
    """`train`, `val`, `eval` or `test`."""

    rest: tuple[str, ...]
    """The words around it, with `*` for its place; `("*",)` if there are none: then it is a split for sure."""

    is_first: bool
    """Whether it is the first word."""

    @property
    def is_plain(self) -> bool:
        """Whether the name says nothing but the split."""
        return self.rest == ("*",)


def split_name(name: str) -> SplitName | None:
    """The split that a name without suffix may stand for, or None.

    >>> split_name("Training_Set"), split_name("seg_test").rest, split_name("contest")
    (SplitName(kind='train', rest=('*',), is_first=True), ('seg', '*'), None)
    """
    name = name.rpartition("=")[2]
    words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    words = [" ".join(words)] if re.fullmatch(r"(hold|held)", words[0] if words else "") else words
    found: SplitName | None = None
    rest: list[str] = []
    for place, word in enumerate(words):
        kind = _kind(word)
        if kind is not None and found is None:
            found = SplitName(kind, (), place == 0)
            rest.append("*")
        elif word not in _NOISE:
            rest.append(word)
    return None if found is None else found._replace(rest=tuple(rest))


def _kind(word: str) -> str | None:
    joined = word.replace(" ", "")
    return _WORDS.get(joined) or _WORDS.get(_NOISE_ENDING.sub("", joined))


def splits_among(names: Iterable[str], with_folders: Collection[str]) -> dict[str, str]:
    """Folder names that stand for splits -> their kinds; names of one level.

    Plain names count if one of them is for training and holds folders. Names with other words beside, `seg_train` and
    `seg_test`, count if they share these words and are of two kinds or more.

    Args:
        names: of all folders of the level.
        with_folders: those that hold folders: one that holds images alone is a class, whatever its name.
    """
    alike: defaultdict[tuple[str, ...], dict[str, str]] = defaultdict(dict)
    for name in names:
        if found := split_name(name):
            alike[found.rest][name] = found.kind
    for rest, kinds in sorted(alike.items(), key=lambda item: item[0] != ("*",)):
        trained_on = any(kind == TRAIN and name in with_folders for name, kind in kinds.items())
        if trained_on and (rest == ("*",) or len(set(kinds.values())) > 1):
            return kinds
    return {}
