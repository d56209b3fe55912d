"""Groups of files and of rows: where they are read from, and files without one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dabo_ray.data.images import DataError
from dabo_ray.data.sources import Reading, Source, load
from tests.data.miniatures import bach, encoded, random_bytes, write_files, write_zip

FILES = {
    f"{label}/p{person}_{take}.png": encoded(random_bytes(3, 8, 8, seed=100 * person + 10 * take + number))
    for number, label in enumerate(["cat", "dog"])
    for person in range(5)
    for take in range(2)
}
PATTERN = r"^\w+/(p\d+)_"
PEOPLE = [person for _ in range(2) for person in range(5) for _ in range(2)]


def alike(source: Source, expected: Sequence[object]) -> bool:
    """Whether the labelled images are in these groups, whatever their numbers."""
    assert source.labelled.groups is not None
    pairs = {*zip(source.labelled.groups.tolist(), expected, strict=True)}
    return len(pairs) == len({*expected}) == len(source.labelled.groups.unique())


@pytest.mark.parametrize("packed", [False, True])
def test_a_pattern_on_the_path(packed: bool, tmp_path: Path):
    root = tmp_path / ("x.zip" if packed else "x")
    (write_zip if packed else write_files)(root, FILES)
    source = load("image_folder", root, Reading(groups=PATTERN))
    assert alike(source, PEOPLE)
    assert "data.groups: 20 labelled images in 5 groups" in source.notes


def test_groups_of_images_that_stay_encoded(tmp_path: Path):
    """Their shards are in another order than the files."""
    write_files(tmp_path / "x", FILES)
    in_memory, streamed = (
        load("image_folder", tmp_path / "x", Reading(groups=PATTERN, streaming=streaming)).labelled
        for streaming in (False, True)
    )
    assert in_memory.groups is not None and streamed.groups is not None
    group_of = {
        bytes(image.numpy()): int(group) for image, group in zip(in_memory.images, in_memory.groups, strict=True)
    }
    assert [group_of[bytes(image.numpy())] for image in streamed.images] == streamed.groups.tolist()
    assert streamed.groups.tolist() != in_memory.groups.tolist()


def test_other_groups_of_the_same_images_need_no_other_cache(tmp_path: Path, cache_folder: Path):
    write_files(tmp_path / "x", FILES)
    file = tmp_path / "people.csv"
    file.write_text("".join(f"{name},{person}\n" for name, person in zip(sorted(FILES), PEOPLE, strict=True)))
    assert load("image_folder", tmp_path / "x").labelled.groups is None
    before = [(path, path.stat().st_mtime_ns) for path in cache_folder.iterdir()]
    one = load("image_folder", tmp_path / "x", Reading(groups=str(file)))
    file.write_text("".join(f"{name},{n % 2}\n" for n, name in enumerate(sorted(FILES))))
    other = load("image_folder", tmp_path / "x", Reading(groups=str(file)))
    assert alike(one, PEOPLE) and alike(other, [0, 1] * 10)
    assert one.labelled.digest() != other.labelled.digest()
    assert [(path, path.stat().st_mtime_ns) for path in cache_folder.iterdir()] == before


@pytest.mark.parametrize("form", ["path", "absolute", "name", "stem", "windows", "columns", "bom"])
def test_a_csv_may_name_files_in_many_ways(form: str, tmp_path: Path):
    root = tmp_path / "x"
    files = {f"{label}/{label}_p{n}.png": FILES[f"{label}/p{n}_0.png"] for label in ("cat", "dog") for n in range(5)}
    write_files(root, files)
    said = {
        "absolute": lambda name: str(root / name),
        "name": lambda name: Path(name).name,
        "stem": lambda name: Path(name).stem,
        "windows": lambda name: name.replace("/", "\\"),
    }.get(form, lambda name: name)
    lines = [(said(name), name.rpartition("_")[2]) for name in files]
    text = "".join(f"{file},{group}\n" for file, group in lines)
    if form == "columns":
        text = "Group,age,File\n" + "".join(f"{group},30,{file}\n" for file, group in lines)
    (tmp_path / "g.csv").write_text(text, encoding="utf-8-sig" if form == "bom" else "utf-8")
    source = load("image_folder", root, Reading(groups=str(tmp_path / "g.csv")))
    assert alike(source, [name.rpartition("_")[2] for name in sorted(files)])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "cat/p0_0.png,a\n",
            r"g\.csv gives 19 of 20 images no group: cat/p0_1\.png, cat/p1_0\.png, .*dog/p4_1\.png; add",
        ),
        ("", "gives 20 of 20 images no group"),
        ("cat/p0_0.png,\n", "gives 20 of 20 images no group: cat/p0_0.png, "),
        ("p0_0.png,a\n", r"line 1: p0_0\.png may be cat/p0_0\.png, dog/p0_0\.png; write the path below"),
        ("cat/p0_0.png,a\ncat/p0_0.png,b\n", r"line 2: cat/p0_0\.png is in the groups a and b; keep one"),
        ("cat/p0_0.png\n", "line 1: has too few columns; lines must be file,group"),
        (None, r"g\.csv cannot be read .*; it must be a CSV with lines file,group"),
    ],
)
def test_a_csv_that_does_not_fit(text: str | None, words: str, tmp_path: Path):
    write_files(tmp_path / "x", FILES)
    if text is not None:
        (tmp_path / "g.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        load("image_folder", tmp_path / "x", Reading(groups=str(tmp_path / "g.csv")))


@pytest.mark.parametrize("pattern", [r"(p[0-3])_", r"/p4_|(p[0-3])_", r"^(?:cat|dog)/(p?)(?=p4)|x"])
def test_files_that_a_pattern_does_not_match(pattern: str, tmp_path: Path):
    write_files(tmp_path / "x", FILES)
    num = 20 if pattern.startswith("^") else 4
    with pytest.raises(
        DataError, match=rf"does not match {num} of 20 images: cat/p\d_0\.png, .*paths such as cat/p0_0"
    ):
        load("image_folder", tmp_path / "x", Reading(groups=pattern))


def test_groups_that_are_trained_on_and_tested_are_told_of(tmp_path: Path):
    files = {f"train/{name}": content for name, content in FILES.items()}
    files |= {f"test/{label}/p{n}_9.png": FILES["cat/p0_0.png"] for label in ("cat", "dog") for n in (3, 4, 5)}
    write_files(tmp_path / "x", files)
    source = load("image_folder", tmp_path / "x", Reading(groups=r"/(p\d+)_"))
    assert source.test is not None and source.test.groups is not None and source.labelled.groups is not None
    assert {*source.test.groups.tolist()} & {*source.labelled.groups.tolist()} and len(source.test.groups.unique()) == 3
    assert any("warning: 2 groups of 4 of the 6 test images are among the labelled" in note for note in source.notes)
    write_files(
        tmp_path / "y", {name: content for name, content in files.items() if "p3" not in name and "p4" not in name}
    )
    assert not any("warning" in n for n in load("image_folder", tmp_path / "y", Reading(groups=r"/(p\d+)_")).notes)


def people(kind: pa.DataType | None = None, names: list[object] | None = None) -> pa.Table:
    column = pa.array(names or [f"p{n % 6}" for n in range(24)], kind)
    images = [encoded(random_bytes(3, 8, 8, seed=n)) for n in range(24)]
    return pa.table({"image": pa.array(images, pa.binary()), "label": [(n // 6) % 2 for n in range(24)], "who": column})


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.int32()])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_column_of_parquet(kind: pa.DataType, streaming: bool, tmp_path: Path):
    names: list[object] = [n % 6 if kind == pa.int32() else f"p{n % 6}" for n in range(24)]
    whole = people(kind, names)
    pq.write_table(whole.slice(0, 10), tmp_path / "a.parquet", row_group_size=4)
    pq.write_table(whole.slice(10), tmp_path / "b.parquet", row_group_size=4)
    source = load("parquet", tmp_path, Reading(groups="who", streaming=streaming))
    assert alike(source, names)


def test_columns_that_are_no_groups(tmp_path: Path):
    pq.write_table(people(names=[None, "", *["p"] * 22]), tmp_path / "x.parquet")
    for column, words in (
        ("patient", r"data\.groups: .*x\.parquet has no column patient; it has image, label, who"),
        ("image", r"data\.groups: the column image of .* is binary; name one of whole numbers or text"),
        ("who", r"data\.groups: the column who is empty in 2 of 24 rows: row 0 of \S*x\.parquet, row 1"),
    ):
        with pytest.raises(DataError, match=words):
            load("parquet", tmp_path, Reading(groups=column))


def test_patches_of_the_images_of_a_patient(tmp_path: Path):
    bach(tmp_path, per_class=4)
    for streaming in (False, True):
        images = load("bach", tmp_path, Reading(groups=r"(\d+)\.tif$", streaming=streaming, image_size=8)).labelled
        assert images.wholes is not None and images.groups is not None
        assert len(images.wholes.unique()) == 16 and len(images.groups.unique()) == 4
        pairs = torch.stack([images.wholes, images.groups], 1).unique(dim=0)
        assert len(pairs) == 16
