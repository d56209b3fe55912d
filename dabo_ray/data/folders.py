"""Published data sets that are trees of image files: Tiny-ImageNet-200, ImageNet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from dabo_ray.data.archives import Folder, Tree, Zip, check_md5
from dabo_ray.data.images import DataError
from dabo_ray.data.published import Encoded, Published, fingerprint_of

SOLUTION, DEVKIT = "LOC_val_solution.csv", "ILSVRC2012_devkit_t12"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
TINY_MD5 = "90528d7ca1a48142e341f4ef8d21d0de"


def tiny_imagenet(root: Path) -> Published:
    """Tiny-ImageNet-200: 100,000 images of 64x64 pixels, and as test set the 10,000 of its val folder."""
    name = "tiny-imagenet-200"
    for place in (root, root / "tiny_imagenet"):
        if (folder := place / name).is_dir():
            tree = Folder(folder)
            return Published("Tiny-ImageNet", tree.fingerprint(tree.names()), 200, partial(_tiny, tree, ""))
        if (archive := place / f"{name}.zip").is_file():
            return Published("Tiny-ImageNet", fingerprint_of([archive]), 200, partial(_tiny_zip, archive, f"{name}/"))
    raise DataError(
        f"Tiny-ImageNet not found: looked for {name}/ and {name}.zip in {root} and {root / 'tiny_imagenet'}. Get "
        f"http://cs231n.stanford.edu/{name}.zip into {root}; it need not be unpacked"
    )


def _tiny_zip(archive: Path, top: str) -> tuple[Encoded, Encoded]:
    check_md5(archive, TINY_MD5)
    return _tiny(Zip(archive), top)


def _tiny(tree: Tree, top: str) -> tuple[Encoded, Encoded]:
    synsets = tree.read(f"{top}wnids.txt").decode("ascii", "replace").split()
    numbers = {synset: number for number, synset in enumerate(synsets)}
    train = [n for n in tree.names() if n.startswith(f"{top}train/") and n.endswith(".JPEG")]
    depth = top.count("/") + 1
    labels = [_number(numbers, name.split("/")[depth], f"{tree.path}: {name}") for name in train]
    where = f"{top}val/val_annotations.txt"
    lines = [line.split("\t") for line in tree.read(where).decode("ascii", "replace").splitlines()]
    if any(len(line) < 2 for line in lines):
        raise DataError(f"{tree.path}: {where} has a line without a file and a synset; get the files again")
    test = [f"{top}val/images/{line[0]}" for line in lines]
    there = set(tree.names())
    if missing := [name for name in test if name not in there]:
        raise DataError(f"{tree.path}: {where} names {len(missing)} files that are missing, first {missing[0]}")
    test_labels = [_number(numbers, line[1], f"{tree.path}: {where}") for line in lines]
    if missing_classes := sorted(set(range(len(synsets))) - set(labels)):
        raise DataError(
            f"{tree.path}: no training images of {len(missing_classes)} of the {len(synsets)} synsets of wnids.txt, "
            f"first {synsets[missing_classes[0]]}; get the files again"
        )
    return encoded(tree, train, labels), encoded(tree, test, test_labels)


def _number(numbers: Mapping[str, int], synset: str, where: str) -> int:
    if synset not in numbers:
        raise DataError(f"{where} has the synset {synset!r}, which is none of the {len(numbers)} known; get it again")
    return numbers[synset]


def imagenet(root: Path) -> Published:
    """ImageNet (ILSVRC 2012) as trees: train/SYNSET/*.JPEG, and as test set its val images.

    The labels of val come from folders (val/SYNSET/*.JPEG), from LOC_val_solution.csv, or from the devkit.
    """
    for place in (root, root / "imagenet", root / "ILSVRC" / "Data" / "CLS-LOC"):
        train, val = place / "train", place / "val"
        if train.is_dir() and val.is_dir():
            synsets = sorted(folder.name for folder in train.iterdir() if folder.is_dir())
            # Of 1.3 million files, folders are watched alone: to ask for every time would take longer than a start.
            watched = [train, val, *(train / synset for synset in synsets), *_label_files([root, place])]
            return Published(
                "ImageNet",
                fingerprint_of(watched),
                len(synsets),
                partial(_imagenet, train, val, [root, place]),
                streaming=True,
                image_size=224,
                resize_over_crop=256 / 224,
            )
    raise DataError(
        f"ImageNet not found: looked for train/SYNSET/*.JPEG and val/ in {root}, {root / 'imagenet'} and "
        f"{root / 'ILSVRC/Data/CLS-LOC'}. Get ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar from "
        "https://image-net.org (they ask for an account) and unpack them into these folders"
    )


def _imagenet(train: Path, val: Path, places: Sequence[Path]) -> tuple[Encoded, Encoded]:
    tree, val_tree = Folder(train), Folder(val)
    names = [name for name in tree.names() if name.endswith(".JPEG") and name.count("/") == 1]
    synsets = sorted({name.split("/")[0] for name in names})
    numbers = {synset: number for number, synset in enumerate(synsets)}
    test = [name for name in val_tree.names() if name.endswith(".JPEG")]
    if not names or not test:
        raise DataError(f"{train} has {len(names)} and {val} has {len(test)} .JPEG files; get the images again")
    synset_of = {name: name.split("/")[0] for name in test} if "/" in test[0] else _val_synsets(test, places)
    labels = [_number(numbers, synset_of[name], f"{val / name}") for name in test]
    return encoded(tree, names, [numbers[n.split("/")[0]] for n in names]), encoded(val_tree, test, labels)


def _label_files(places: Sequence[Path]) -> list[Path]:
    files = [file for place in places for file in (place / SOLUTION, place / DEVKIT / "data" / GROUND_TRUTH)]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def _val_synsets(names: Sequence[str], places: Sequence[Path]) -> dict[str, str]:
    """Synsets of val images that lie in one folder."""
    for place in places:
        if (file := place / SOLUTION).is_file():
            with file.open(newline="") as lines:
                rows = list(csv.DictReader(lines))
            synsets = {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in rows}
        elif (folder := place / DEVKIT).is_dir():
            file = folder / "data" / GROUND_TRUTH
            synset_of = _devkit_synsets(folder / "data" / "meta.mat")
            try:
                synsets = dict(zip(names, [synset_of[int(n)] for n in file.read_text().split()], strict=True))
            except (OSError, KeyError, ValueError) as error:
                raise DataError(f"{file} does not fit the {len(names)} val images ({error}); get it again") from None
        else:
            continue
        if missing := [name for name in names if name not in synsets]:
            raise DataError(f"{file} has no label for {len(missing)} val images, first {missing[0]}; get it again")
        return synsets
    raise DataError(
        f"no labels for ImageNet's val images: looked for {SOLUTION} and {DEVKIT}/ in {', '.join(map(str, places))}. "
        "Get one of them from https://image-net.org, or sort the images into a folder for each synset"
    )


def _devkit_synsets(path: Path) -> dict[int, str]:
    """ILSVRC2012_ID -> synset, of the devkit's meta.mat."""
    from scipy.io import loadmat

    try:
        rows = loadmat(path, squeeze_me=True)["synsets"]
        return {int(row[0]): str(row[1]) for row in rows if int(row[4]) == 0}
    except Exception as error:  # A damaged file may fail in any way.
        raise DataError(f"{path} is not the devkit's list of synsets ({error}); get the devkit again") from None


def encoded(tree: Tree, names: Sequence[str], labels: Sequence[int]) -> Encoded:
    """Image files of a tree, with their labels."""
    return Encoded(names, labels, lambda place: tree.read(names[place]))
