"""Trees of image files: any folder, Tiny-ImageNet, ImageNet; whole, damaged, with wrong labels."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from dabo_ray.data import folders
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.sources import Reading, load
from tests.data.miniatures import (
    SYNSETS,
    Labelled,
    as_jpeg,
    devkit,
    encoded,
    imagenet,
    random_bytes,
    smooth,
    tiny_imagenet,
    write_files,
    write_zip,
)


def same(images: Images | None, expected: Labelled) -> None:
    assert images is not None
    assert torch.equal(images.images, expected[0])
    assert torch.equal(images.labels, expected[1])


@pytest.mark.parametrize("packed", [False, True])
def test_tiny_imagenet(packed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, train, val = tiny_imagenet()
    if packed:
        archive = tmp_path / "tiny-imagenet-200.zip"
        write_zip(archive, {f"tiny-imagenet-200/{name}": content for name, content in files.items()})
        md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setattr(folders, "TINY_MD5", md5)
    else:
        write_files(tmp_path / "tiny-imagenet-200", files)
    source = load("tiny_imagenet", tmp_path)
    same(source.labelled, train)
    same(source.test, val)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "val/val_annotations.txt",
            b"val_0.JPEG\tn99999999\t0\t0\t1\t1\n",
            "synset 'n99999999', which is none",
        ),
        ("val/val_annotations.txt", b"val_99.JPEG\tn01443537\t0\t0\t1\t1\n", r"files that are missing, first .*val_99"),
        ("val/val_annotations.txt", b"val_0.JPEG n01443537\n", "a line without a file and a synset"),
        ("val/val_annotations.txt", None, r"val_annotations\.txt cannot be read"),
        ("wnids.txt", None, r"wnids\.txt cannot be read"),
        ("wnids.txt", b"n01443537\nn01629819\n", "synset 'n01641577'"),
        ("wnids.txt", b"n01443537\nn01629819\nn01641577\nn07777777\n", "no training images of 1 .* n07777777"),
        (
            "train/n01443537/images/n01443537_2.JPEG",
            b"\xff\xd8\xff",
            r"1 of 27 images cannot be read: \S*n01443537_2.JPEG \(",
        ),
        (
            "train/n01443537/images/n01443537_2.JPEG",
            as_jpeg(smooth(1, 64, 64))[0][:500],
            r"(?i)n01443537_2.JPEG \(.*truncated",
        ),
        ("train/n01443537/images/n01443537_2.JPEG", as_jpeg(smooth(1, 32, 64))[0], "64x32 pixels, .* 64x64"),
    ],
)
def test_tiny_imagenet_that_is_damaged(
    name: str, content: bytes | None, words: str, tmp_path: Path, cache_folder: Path
):
    files, *_ = tiny_imagenet()
    write_files(tmp_path / "tiny-imagenet-200", files)
    target = tmp_path / "tiny-imagenet-200" / name
    target.unlink() if content is None else target.write_bytes(content)
    with pytest.raises(DataError, match=words):
        load("tiny_imagenet", tmp_path)
    assert not [path for path in cache_folder.rglob("*") if path.suffix != ".lock"]


def test_hostile_zips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, *_ = tiny_imagenet(1, 3)
    link = zipfile.ZipInfo("tiny-imagenet-200/val/link")
    link.external_attr = 0o120777 << 16
    monkeypatch.setattr(folders, "check_md5", lambda *_: None)
    members: list[str | zipfile.ZipInfo] = ["../../x", "/etc/x", "a\\..\\..\\x", "C:/x", link]
    for number, member in enumerate(members):
        root = tmp_path / str(number)
        root.mkdir()
        archive = root / "tiny-imagenet-200.zip"
        write_zip(archive, {f"tiny-imagenet-200/{name}": content for name, content in files.items()})
        with zipfile.ZipFile(archive, "a") as opened:
            opened.writestr(member, "x")
        with pytest.raises(DataError, match=r"hostile|not as published"):
            load("tiny_imagenet", root)
        assert list(root.iterdir()) == [archive]
    archive.write_bytes(archive.read_bytes()[:1000])
    with pytest.raises(DataError, match="cannot be read"):
        load("tiny_imagenet", root)


def prepared(path: Path, size: int) -> torch.Tensor:
    """As torchvision does it: the short side to 8/7 of the size, then the middle."""
    transform = v2.Compose([v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size), v2.PILToTensor()])
    return transform(Image.open(path).convert("RGB"))  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["sorted", "devkit", "csv"])
def test_imagenet(kind: str, tmp_path: Path):
    val = imagenet(tmp_path)
    paths = sorted((tmp_path / "val").iterdir())
    if kind == "devkit":
        devkit(tmp_path, val)
    elif kind == "csv":
        rows = [f"{path.stem},{synset} 1 2 3 4\n" for path, synset in zip(paths, val, strict=True)]
        (tmp_path / "LOC_val_solution.csv").write_text("".join(["ImageId,PredictionString\n", *reversed(rows)]))
    else:
        for path, synset in zip(paths, val, strict=True):
            target = path.parent / synset / path.name
            target.parent.mkdir(exist_ok=True)
            path.rename(target)
        paths = sorted((tmp_path / "val").glob("*/*"))
        val = [path.parent.name for path in paths]
    source = load("imagenet", tmp_path, Reading(image_size=21, streaming=False))
    assert source.num_classes == 3
    train_paths = sorted((tmp_path / "train").glob("*/*"))
    for images, files, synsets in (
        (source.labelled, train_paths, [path.parent.name for path in train_paths]),
        (source.test, paths, val),
    ):
        assert images is not None
        assert [SYNSETS[label] for label in images.labels.tolist()] == synsets
        expected = torch.stack([prepared(path, 21) for path in files])
        assert torch.equal(images.images, expected)


def test_imagenet_without_labels_of_val(tmp_path: Path):
    val = imagenet(tmp_path)
    with pytest.raises(DataError, match=r"no labels for ImageNet's val images: looked for LOC_val_solution\.csv"):
        load("imagenet", tmp_path, Reading(streaming=False))
    devkit(tmp_path, val[:-1])
    with pytest.raises(DataError, match="does not fit the 6 val images"):
        load("imagenet", tmp_path, Reading(streaming=False))
    (tmp_path / "ILSVRC2012_devkit_t12" / "data" / "meta.mat").write_bytes(b"x" * 300)
    with pytest.raises(DataError, match="not the devkit's list of synsets"):
        load("imagenet", tmp_path, Reading(streaming=False))


def test_imagenet_missing(tmp_path: Path):
    with pytest.raises(DataError, match=r"ImageNet not found: looked for train/SYNSET.*https://image-net.org"):
        load("imagenet", tmp_path)


@pytest.mark.parametrize(
    ("parts", "labelled", "test"),
    [
        (("train", "val", "test"), ("train", "val"), ("test",)),
        (("train", "test"), ("train",), ("test",)),
        (("train", "validation"), ("train",), ("validation",)),
        (("train",), ("train",), ()),
        ((), ("",), ()),
    ],
)
def test_image_folders(parts: tuple[str, ...], labelled: tuple[str, ...], test: tuple[str, ...], tmp_path: Path):
    expected: dict[str, list[tuple[torch.Tensor, int]]] = {}
    for number, part in enumerate(parts or ("",)):
        for label, name in enumerate(("bird", "cat", "dog")):
            for i in range(4):
                image = random_bytes(3, 10, 12, seed=100 * number + 10 * label + i)
                write_files(tmp_path / part / name, {f"{i}.png": encoded(image)})
                expected.setdefault(part, []).append((image, label))
    write_files(tmp_path, {"README.md": b"x", "bird/notes.txt": b"x"} if not parts else {"README.md": b"x"})
    source = load("image_folder", tmp_path)
    assert source.num_classes == 3
    for images, names in ((source.labelled, labelled), (source.test, test)):
        rows = [row for name in sorted(names) for row in expected[name]]
        if not rows:
            assert images is None
            continue
        same(images, (torch.stack([image for image, _ in rows]), torch.tensor([label for _, label in rows])))


def test_a_zipped_image_folder(tmp_path: Path):
    images = {f"{name}/{i}.png": random_bytes(3, 8, 8, seed=i) for name in ("a", "b") for i in range(2)}
    write_zip(tmp_path / "mine.zip", {name: encoded(image) for name, image in images.items()})
    same(
        load("image_folder", tmp_path / "mine.zip").labelled,
        (torch.stack([*images.values()]), torch.tensor([0, 0, 1, 1])),
    )


def test_image_folders_that_cannot_be_used(tmp_path: Path):
    with pytest.raises(DataError, match="neither a folder nor a zip"):
        load("image_folder", tmp_path / "nowhere")
    write_files(tmp_path, {"one/0.png": encoded(random_bytes(3, 8, 8)), "1.png": encoded(random_bytes(3, 8, 8))})
    with pytest.raises(DataError, match=r"found 2 images and 1 classes"):
        load("image_folder", tmp_path)
    write_files(tmp_path, {"two/0.png": encoded(random_bytes(3, 9, 8))})
    with pytest.raises(DataError, match=r"two/0\.png has 8x9 pixels, one/0\.png has 8x8; set data\.image_size"):
        load("image_folder", tmp_path)
    assert load("image_folder", tmp_path, Reading(image_size=8)).labelled.shape == (3, 8, 8)
