"""Parquet files of encoded images: read where they lie, and files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dabo_ray.data import in_place
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, load
from tests.data.miniatures import encoded, hub_parquet, random_bytes


def test_published_parquet_is_read_where_it_lies(tmp_path: Path, cache_folder: Path):
    images = random_bytes(30, 3, 8, 8)
    labels = [(7 * number) % 3 for number in range(30)]
    files = [encoded(image) for image in images]
    hub_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", files[:12], labels[:12])
    hub_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", files[12:20], labels[12:20])
    hub_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", files[20:], labels[20:])
    for streaming in (True, False):
        source = load("parquet", tmp_path, Reading(streaming=streaming))
        assert source.test is not None and source.num_classes == 3
        assert torch.equal(source.labelled.images, images[:20]) and torch.equal(source.test.images, images[20:])
        assert source.labelled.labels.tolist() + source.test.labels.tolist() == labels
        assert bool(list(cache_folder.rglob("*.arrow"))) == (not streaming)
    uri = load("parquet", f"file://{tmp_path}/data", Reading(streaming=True))
    assert torch.equal(uri.labelled.images, images[:20])


def test_labels_of_parquet_may_be_text(tmp_path: Path):
    files = [encoded(random_bytes(3, 8, 8, seed=number)) for number in range(4)]
    table = pa.table({"img": pa.array(files, pa.binary()), "class": ["dog", "cat", "dog", "bird"], "extra": [1.0] * 4})
    pq.write_table(table, tmp_path / "x.parquet")
    assert load("parquet", tmp_path / "x.parquet").labelled.labels.tolist() == [2, 1, 2, 0]


def test_parquet_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(DataError, match=r"looked for \*\.parquet at and below"):
        load("parquet", tmp_path)
    file = tmp_path / "train.parquet"
    one = [encoded(random_bytes(3, 8, 8))]
    for table, words in (
        ({"a": one, "b": one, "label": [0]}, "not clear which columns hold encoded images .* found a"),
        ({"image": one, "x": [0], "y": [0]}, "not clear which columns"),
        ({"image": one * 2, "label": [0, None]}, "1 of 2 rows to train on have no label"),
        ({"image": [*one, b"x"], "label": [0, 1]}, r"row 1 of \S*/train.parquet \("),
    ):
        pq.write_table(pa.table(table), file)
        with pytest.raises(DataError, match=words):
            load("parquet", tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"train\.parquet cannot be read .*; get it again"):
        load("parquet", tmp_path)


def test_sorted_parquet_is_not_streamed(tmp_path: Path):
    hub_parquet(tmp_path / "x.parquet", [encoded(random_bytes(3, 8, 8))] * 100, [0] * 50 + [1] * 50)
    with pytest.raises(DataError, match=r"sorted by class; .*shuffle them"):
        load("parquet", tmp_path, Reading(streaming=True))
    assert len(load("parquet", tmp_path, Reading(streaming=False)).labelled) == 100


def test_large_row_groups_are_not_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whole row groups are kept in memory."""
    hub_parquet(tmp_path / "x.parquet", [encoded(random_bytes(3, 8, 8, seed=n)) for n in range(100)], [0, 1] * 50, 100)
    monkeypatch.setattr(in_place, "LARGEST_ROW_GROUP", 10_000)
    with pytest.raises(DataError, match=r"row groups of up to 0\.0 MiB, .*row_group_size"):
        load("parquet", tmp_path, Reading(streaming=True))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train/0000.parquet", "test/0000.parquet"),
        ("default/train/0000.parquet", "default/test/0000.parquet"),
        ("Training/x.parquet", "Testing/x.parquet"),
        ("split=train/part-0.parquet", "split=test/part-0.parquet"),
        ("data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"),
        ("data/TRAIN.parquet", "data/Valid.parquet"),
        ("mnist_train.parquet", "mnist_test.parquet"),
        ("seg_train/0.parquet", "seg_eval/0.parquet"),
        ("all.parquet", "test-easy.parquet"),
        ("train/latest.parquet", "dev/latest.parquet"),
    ],
)
def test_splits_by_folder_and_by_name(train: str, test: str, tmp_path: Path):
    files = [encoded(random_bytes(3, 8, 8, seed=number)) for number in range(26)]
    hub_parquet(tmp_path / "test_of_mine" / train, files[:20], [0, 1] * 10)
    hub_parquet(tmp_path / "test_of_mine" / test, files[20:], [0, 1] * 3)
    source = load("parquet", tmp_path / "test_of_mine")
    assert len(source.labelled) == 20 and source.test is not None and len(source.test) == 6
    assert any("Parquet files of" in note for note in source.notes)


def test_names_that_only_look_like_splits(tmp_path: Path):
    for number, name in enumerate(("contest", "values", "latest/0")):
        hub_parquet(tmp_path / f"{name}.parquet", [encoded(random_bytes(3, 8, 8, seed=number))] * 4, [0, 1] * 2)
    source = load("parquet", tmp_path)
    assert len(source.labelled) == 12 and source.test is None and not source.notes


def test_no_parquet_to_train_on(tmp_path: Path):
    hub_parquet(tmp_path / "test" / "0.parquet", [encoded(random_bytes(3, 8, 8))] * 2, [0, 1])
    hub_parquet(tmp_path / "test" / "1.parquet", [encoded(random_bytes(3, 8, 8))] * 2, [0, 1])
    with pytest.raises(DataError, match="all 2 Parquet files are of the split test, none is to train on"):
        load("parquet", tmp_path)


def table(labels: pa.Array, column: str = "label") -> pa.Table:
    files = [encoded(random_bytes(3, 8, 8, seed=number)) for number in range(len(labels))]
    return pa.table({"image": pa.array(files, pa.binary()), column: labels})


TEXT = pa.array(["y", "x"] * 10)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (TEXT, [1, 0] * 10),
        (TEXT.cast(pa.large_string()), [1, 0] * 10),
        (TEXT.cast(pa.string_view()), [1, 0] * 10),
        (TEXT.dictionary_encode(), [1, 0] * 10),
        (TEXT.cast(pa.large_string()).dictionary_encode(), [1, 0] * 10),
        (pa.array([7, 3] * 10).dictionary_encode(), [1, 0] * 10),
        (pa.array([True, False] * 10), [1, 0] * 10),
        (pa.array([1.0, 0.0] * 10), [1, 0] * 10),
        (pa.array([1.0, 0.0] * 10, pa.float32()), [1, 0] * 10),
        (pa.array([0, 1, 3, 0] * 5), [0, 1, 2, 0] * 5),
        (pa.array([1, 2] * 10, pa.uint8()), [0, 1] * 10),
        (pa.array([-1, 1] * 10), [0, 1] * 10),
    ],
)
@pytest.mark.parametrize("column", ["label", "Label", "kind"])
def test_labels_of_many_types(labels: pa.Array, expected: list[int], column: str, tmp_path: Path):
    pq.write_table(table(labels, column), tmp_path / "x.parquet")
    source = load("parquet", tmp_path)
    assert source.labelled.labels.tolist() == expected and source.num_classes == max(expected) + 1


@pytest.mark.parametrize(("labels", "told"), [([0, 1, 3], "0, 1, 3 are the classes 0 to 2"), ([0, 1, 2], None)])
def test_numbers_with_gaps_are_told_of(labels: list[int], told: str | None, tmp_path: Path):
    pq.write_table(table(pa.array(labels * 4)), tmp_path / "x.parquet")
    notes = load("parquet", tmp_path).notes
    assert (told is None and not notes) or (told is not None and told in notes[0])


@pytest.mark.parametrize(
    "nothing", [pa.array([-1] * 4), pa.array([None] * 4, pa.int64()), pa.nulls(4), pa.array([float("nan")] * 4)]
)
@pytest.mark.parametrize("val", [False, True])
def test_a_test_split_without_labels_is_left_out(nothing: pa.Array, val: bool, tmp_path: Path):
    pq.write_table(table(pa.array([0, 1] * 10)), tmp_path / "train.parquet")
    pq.write_table(table(nothing), tmp_path / "test.parquet")
    if val:
        pq.write_table(table(pa.array([0, 1, 1])), tmp_path / "val.parquet")
    source = load("parquet", tmp_path)
    assert len(source.labelled) == 20 and (len(source.test) if source.test else None) == (3 if val else None)
    assert any("left out the 4 rows of test, which have no labels" in note for note in source.notes)


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        ([0, 1] * 5, [0, -1], "1 of 2 rows of the test set have no label"),
        ([0, 1, -1] * 5, None, r"5 of 15 rows to train on have no label \(null, NaN, or -1 beside 0\); take them out"),
        ([0, 1] * 5, [0, 2], "1 classes of the test set have no image to train on: 2; those of the others are 0, 1"),
        ([0.0, 0.5] * 5, None, "column label: labels are classes, and 0.5 is not a whole number"),
        ([0, 0, 0], None, "all labels are 0; a data set needs two classes"),
        (list(range(60)), None, "60 labels that differ in 60 rows are no classes .*; name the column"),
        ([0, 1] * 5, ["cat", "dog"], "some labels are numbers and others text"),
        ([], None, "all labels are ; a data set needs two"),
    ],
)
def test_labels_that_cannot_be_used(train: list[object], test: list[object] | None, words: str, tmp_path: Path):
    pq.write_table(table(pa.array(train)), tmp_path / "train.parquet")
    if test is not None:
        pq.write_table(table(pa.array(test)), tmp_path / "test.parquet")
    with pytest.raises(DataError, match=words):
        load("parquet", tmp_path)


def test_columns_that_differ_between_files(tmp_path: Path):
    pq.write_table(table(pa.array([0, 1] * 3)), tmp_path / "a.parquet")
    pq.write_table(table(pa.array([0, 1] * 3), "target"), tmp_path / "b.parquet")
    with pytest.raises(
        DataError, match=r"in the columns image and target, in .*a.parquet in image and label; name them"
    ):
        load("parquet", tmp_path)


@pytest.mark.parametrize("streaming", [False, True])
def test_missing_images_and_empty_files(streaming: bool, tmp_path: Path):
    hub_parquet(tmp_path / "a.parquet", [encoded(random_bytes(3, 8, 8))] * 4, [0, 1] * 2)
    pq.write_table(pq.read_table(tmp_path / "a.parquet").slice(0, 0), tmp_path / "b.parquet")
    assert len(load("parquet", tmp_path, Reading(streaming=streaming)).labelled) == 4
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = pa.array([{"bytes": None, "path": "0.png"}, None, {"bytes": b"", "path": ""}], kind)
    pq.write_table(pa.table({"image": rows, "label": [0, 1, 0]}), tmp_path / "c.parquet")
    with pytest.raises(DataError, match=r"3 of 7 images .*row 0 of \S*/c\.parquet \(the file is empty\)"):
        load("parquet", tmp_path, Reading(streaming=streaming))
