"""Which folder of a tree is the class and which the split, in the forms that people use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dabo_ray.data.images import DataError
from dabo_ray.data.layout import find_layout
from dabo_ray.data.sources import Reading, Source, load
from dabo_ray.data.split_names import split_name
from tests.data.miniatures import encoded, random_bytes, write_files, write_zip

CLASSES = ("cat", "dog", "owl")


def tree(*folders: str, num: int = 2, suffix: str = "png") -> dict[str, bytes]:
    """Images in folders."""
    return {f"{folder}/{i}.{suffix}": encoded(random_bytes(3, 8, 8, seed=i)) for folder in folders for i in range(num)}


def below(*heads: str, classes: Sequence[str] = CLASSES) -> list[str]:
    return [f"{head}/{label}" for head in heads for label in classes]


def counts(source: Source) -> tuple[int, int | None, int]:
    return len(source.labelled), None if source.test is None else len(source.test), source.num_classes


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "train") for name in ("train", "Training", "TRN", "training_set", "trainset", "TrainData", "train-1")),
        *((name, "val") for name in ("val", "Valid", "VALIDATION", "validation images", "dev", "val_imgs")),
        *((name, "eval") for name in ("eval", "Evaluation")),
        *(
            (name, "test")
            for name in ("test", "Testing", "TST", "test_set", "test1", "hold-out", "split=test", "tests")
        ),
        *((name, None) for name in ("contest", "latest", "cat", "testament", "5", "", "values", "trained", "datum")),
    ],
)
def test_names_of_splits(name: str, kind: str | None):
    found = split_name(name)
    assert (None if found is None else found.kind) == kind
    assert found is None or found.is_plain


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("Train", "Test"),
        ("TRAIN", "TEST"),
        ("trn", "tst"),
        ("train", "val"),
        ("train", "eval"),
        ("train", "dev"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("asl_alphabet_train/asl_alphabet_train", "asl_alphabet_test/asl_alphabet_test"),
        ("a/train/images", "a/test/images"),
        ("archive/data/Train", "archive/data/Validation"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_splits_above_classes(train: str, test: str, packed: bool, tmp_path: Path):
    files = tree(*below(train), num=3) | tree(*below(test))
    if packed:
        write_zip(tmp_path / "x.zip", files)
    else:
        write_files(tmp_path / "x", files)
    assert counts(load("image_folder", tmp_path / ("x.zip" if packed else "x"))) == (9, 6, 3)


def test_splits_below_classes(tmp_path: Path):
    write_files(tmp_path, tree(*(f"{label}/{split}" for label in CLASSES for split in ("Train", "Test", "val"))))
    assert counts(load("image_folder", tmp_path)) == (12, 6, 3)


@pytest.mark.parametrize(
    ("splits", "labelled", "test"),
    [
        (("train", "val", "test", "eval"), 18, 6),
        (("train", "val", "eval"), 12, 6),
        (("train", "Train", "test"), 12, 6),
        (("train", "train2"), 12, None),
    ],
)
def test_which_split_is_the_test_set(splits: Sequence[str], labelled: int, test: int | None, tmp_path: Path):
    write_files(tmp_path, tree(*below(*splits)))
    assert counts(load("image_folder", tmp_path)) == (labelled, test, 3)


def test_an_unlabelled_test_folder_is_left_out_and_counted(tmp_path: Path):
    write_files(tmp_path, tree(*below("train"), num=3) | tree(*below("val")) | tree("test", num=7))
    source = load("image_folder", tmp_path)
    assert counts(source) == (9, 6, 3)
    assert any("left out 7 images that are in no class: test (7)" in note for note in source.notes)


def test_classes_may_be_called_like_splits(tmp_path: Path):
    """Of vehicles, say: what holds no folders is a class."""
    write_files(tmp_path / "x", tree("car", "train", "bus", "test_car"))
    source = load("image_folder", tmp_path / "x")
    assert counts(source) == (8, None, 4) and not source.notes


def test_deeper_folders_belong_to_their_class(tmp_path: Path):
    write_files(tmp_path, tree("cat/anna", "cat/max", "dog/rex", "dog/max", "owl"))
    assert counts(load("image_folder", tmp_path)) == (10, None, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_a_single_folder_on_top_is_descended_into_with_a_line(packed: bool, tmp_path: Path):
    files = tree(*below("archive/pets")) | tree("archive")
    if packed:
        write_zip(tmp_path / "x.zip", files)
    else:
        write_files(tmp_path / "x", files)
    source = load("image_folder", tmp_path / ("x.zip" if packed else "x"))
    assert counts(source) == (6, None, 3)
    assert "looked for in archive/pets/, below which" in source.notes[0]
    assert "left out 2 images that are in no class" in source.notes[1]


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (below("A", "B"), "A/, B/ have the same folders inside .cat/, dog/, owl/., so it is not clear"),
        (below("A") + below("B", classes=("cat", "dog")), "A/, B/ have the same folders inside .cat/, dog/."),
        (["p1/0", "p1/1", "p2/0", "p2/1", "p3/0"], "have the same folders inside"),
        (["train/p1/0", "train/p1/1", "train/p2/0", "train/p2/1"], "p1/, p2/ have the same folders inside"),
        (["COVID/images", "COVID/masks", "Normal/images", "Normal/masks"], "have the same folders inside"),
        (below("fold1/train", "fold1/test", "fold2/train", "fold2/test"), "folders above and below the splits"),
        (["b/train/good", "b/test/bad", "b/truth/bad", "c/train/good", "c/test/bad", "c/truth/bad"], "not clear"),
        (below("val", "test"), "has test/, val/, and none of them to train on; name one of them train"),
        (["train", "test"], r"directly in test/, train/, so nothing says their classes; put .* such as train/CLASS/"),
        (["car/sedan", "car/van", "train/steam", "train/fast"], "train/ may be a split or a class like car/; rename"),
        (["cat/train", "cat/test", "dog"], "there are folders for splits beside others .cat/ holds test/, train/"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(folders: Sequence[str], words: str, tmp_path: Path):
    write_files(tmp_path, tree(*folders))
    with pytest.raises(DataError, match=words):
        load("image_folder", tmp_path)


def test_a_class_of_test_alone_is_refused(tmp_path: Path):
    write_files(tmp_path, tree(*below("train")) | tree(*below("test", classes=("cat", "Dog"))))
    with pytest.raises(DataError, match=r"1 classes of the test set have no image to train on: Dog; .* cat, dog, owl"):
        load("image_folder", tmp_path)


def test_classes_that_differ_in_case_between_splits_are_refused(tmp_path: Path):
    write_files(tmp_path, tree(*below("train", "test")) | tree(*below("val", classes=("Cat", "dog"))))
    with pytest.raises(DataError, match="cat and Cat differ only in case"):
        load("image_folder", tmp_path)


def test_classes_that_differ_in_case_are_two_in_one_split(tmp_path: Path):
    """Letters, say."""
    write_files(tmp_path, tree("a", "A"))
    assert load("image_folder", tmp_path, Reading()).num_classes == 2


def test_images_in_no_folder_have_no_layout():
    assert find_layout([()], "x").place(()) is None
