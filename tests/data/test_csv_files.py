"""Image files that a CSV names, with labels and splits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dabo_ray.config.errors import ConfigError
from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, Source, load
from tests.data.miniatures import encoded, random_bytes, write_files

SPLITS = ("Training", "train", "trn", "train", "valid", "TEST")
FILES = {f"scans/{number}.png": encoded(random_bytes(3, 8, 8, seed=number)) for number in range(6)}


def read(folder: Path, text: str, groups: str = "") -> Source:
    write_files(folder, FILES)
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")
    return load("csv", folder / "labels.csv", Reading(cache=str(folder / "cache"), groups=groups))


def lines(*rows: str) -> str:
    return "\n".join(rows) + "\n"


def test_files_are_found_from_the_folder_of_the_csv(tmp_path: Path):
    source = read(tmp_path, lines("Label, File ,age", "b,scans/2.png,3", 'a,"scans/0.png",4', "b,scans/1.png,5"))
    assert source.classes == ["a", "b"] and source.labelled.labels.tolist() == [1, 0, 1]
    expected = torch.stack([random_bytes(3, 8, 8, seed=number) for number in (2, 0, 1)])
    assert torch.equal(source.labelled.images, expected)
    assert source.test is None


def test_numbers_are_in_the_order_of_numbers_and_splits_have_their_names(tmp_path: Path):
    rows = ["file,label,split", *(f"scans/{i}.png,{[10, 9][i % 2]},{SPLITS[i]}" for i in range(6))]
    source = read(tmp_path, lines(*rows))
    assert source.classes == ["9", "10"] and source.labelled.labels.tolist() == [1, 0, 1, 0, 1]
    assert source.test is not None and source.test.labels.tolist() == [0]
    assert any("splits test (1 images), train (4 images), val (1 images)" in note for note in source.notes)


def test_what_changes_is_read_anew(tmp_path: Path):
    text = lines("file,label", "scans/0.png,a", "scans/1.png,b", "scans/2.png,b")
    assert read(tmp_path, text).labelled.labels.tolist() == [0, 1, 1]
    assert read(tmp_path, text.replace("2.png,b", "2.png,a")).labelled.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"the first line must name the columns.*it is empty"),
        ("scans/0.png,a\nscans/1.png,b\n", "it has no file and no label: scans/0.png,a"),
        ("file;label\nscans/0.png;a\n", "separated by commas; it has no file and no label: file;label"),
        ("file,label,file\n", "names the column file twice"),
        ("file,label\nscans/0.png,a\nscans/1,png,b\n", "line 3: does not have the 2 columns"),
        ("file,label\nscans/0.png,a\nx.png,b\n,c\n", r"2 of 3 files that are not there: x\.png, ; write paths as seen"),
        ("file,label\nscans/0.png,a\nscans/0.png,b\n", "lines 2 and 3: both are scans/0.png"),
        ("file,label,split\nscans/0.png,a,train\nscans/1.png,b,mine\n", "line 3: the split is 'mine'; write train"),
        ("file,label,split\nscans/0.png,a,test\nscans/1.png,b,test\n", "all 2 lines are of the split test"),
        ("file,label\nscans/0.png,a\nscans/1.png,\n", "1 of 2 rows to train on have no label"),
        ("file,label\nscans/0.png,a\nscans/1.png,a\n", "two classes or more"),
    ],
)
def test_what_cannot_be_used(text: str, words: str, tmp_path: Path):
    with pytest.raises(DataError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize("place", ["nowhere.csv", "scans"])
def test_what_is_no_csv(place: str, tmp_path: Path):
    write_files(tmp_path, FILES)
    with pytest.raises(DataError, match=r"no CSV of images: .* is no file \*\.csv"):
        load("csv", tmp_path / place, Reading(cache=str(tmp_path / "cache")))


@pytest.mark.parametrize(
    "groups", ["Patient", r"scans/([0-2])?", "groups.csv"], ids=["a column", "a pattern", "another CSV"]
)
@pytest.mark.parametrize("streaming", [True, False])
def test_groups(groups: str, streaming: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = lines("file,label,patient", *(f"scans/{i}.png,{i % 2},p{i % 3}" for i in range(6)))
    write_files(tmp_path, FILES)
    (tmp_path / "labels.csv").write_text(text)
    (tmp_path / "groups.csv").write_text(lines(*(f"{i}.png,p{i % 3}" for i in range(6))))
    if groups.startswith("scans"):
        groups = r"scans/(.)"
    reading = Reading(cache=str(tmp_path / "cache"), groups=groups, streaming=streaming)
    source = load("csv", "labels.csv", reading)
    found = source.labelled.groups
    assert found is not None
    same_class_order = torch.equal(source.labelled.labels, torch.arange(6) % 2)
    assert len(found.unique()) == (6 if "(" in groups else 3)
    if same_class_order and "(" not in groups:
        assert found.tolist() == [0, 1, 2, 0, 1, 2]


def test_a_column_that_is_not_there_or_empty(tmp_path: Path):
    text = lines("file,label,patient", "scans/0.png,a,p1", "scans/1.png,b,")
    with pytest.raises(DataError, match="no column slide; beside file, label and split it has patient"):
        read(tmp_path, text, groups="slide")
    with pytest.raises(DataError, match=r"the column patient is empty for 1 of 2 images: scans/1\.png"):
        read(tmp_path, text, groups="patient")


def test_a_pattern_still_needs_its_group(make_study):
    make_study("data={name: csv, root: labels.csv, groups: patient}")
    with pytest.raises(ConfigError, match=r"one \(\.\.\.\) around what names the group, not 2"):
        make_study("data={name: csv, root: labels.csv, groups: '(a)(b)'}")
