"""Trees of image files with a mask file of the same name for each: `images/x.jpg`, `masks/x.png`; a folder or a zip."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch

from dabo_ray.augment.masks import IGNORED
from dabo_ray.data.archives import Tree
from dabo_ray.data.arrow import Cached
from dabo_ray.data.decode import Decoder, ImageError
from dabo_ray.data.folders import encoded
from dabo_ray.data.image_folder import ENDINGS, left_out, open_tree
from dabo_ray.data.images import DataError
from dabo_ray.data.layout import held_out_kind
from dabo_ray.data.published import Encoded, Published
from dabo_ray.data.split_names import split_name
from dabo_ray.data.wording import listed, unknown_classes

IMAGES = {"images", "image", "imgs", "img", "jpegimages", "input", "inputs", "pictures", "photos"}
MASKS = {
    *("masks", "mask", "labels", "label", "annotations", "segmentation", "segmentations", "segmentationclass"),
    *("groundtruth", "ground_truth", "gt", "targets", "target", "label_img", "labelimages"),
}
ENDS_OF_MASKS = ("_mask", "_masks", "_label", "_seg", "_segmentation", "_gt", "-mask", "-label")
"""What the name of a mask may have beyond that of its image."""

Key = tuple[str, ...]
"""The folders of a file but for those named for images or masks, and its name without suffix."""


def mask_folder(root: Path) -> Published:
    """`root/images/*` and `root/masks/*` of the same names, also `root/SPLIT/images/*`, `root/images/SPLIT/*`.

    Splits have their usual names in any case, see `split_names`; the test set is test, else eval, else val.

    Raises:
        DataError: there are no two folders, or images and masks do not belong together one by one.
    """
    tree = open_tree(root)
    files = [name for name in tree.names() if PurePosixPath(name).suffix.lower() in ENDINGS]
    images, masks = _by_key(files, IMAGES, ()), _by_key(files, MASKS, ENDS_OF_MASKS)
    if not images or not masks:
        raise DataError(
            f"{root}: looked for images in a folder named {' or '.join(sorted(IMAGES)[:4])} and for masks of the same "
            f"names in one named {', '.join(sorted(MASKS)[:4])}; found {len(images)} images and {len(masks)} masks of "
            f"{len(files)} files"
        )
    _check_pairs(root, images, masks)
    kinds = {key: _kind(key) for key in images}
    test_kind = held_out_kind(set(kinds.values()))
    parts = [
        [key for key in sorted(images) if (test_kind is not None and kinds[key] == test_kind) == is_test]
        for is_test in (False, True)
    ]
    if not parts[0]:
        raise DataError(f"{root}: all {len(images)} images are in {test_kind}; name a folder train, or leave it out")

    notes = [f"{root}: {line}" for line in left_out(tree)]
    of_images = [encoded(tree, [images[key] for key in part], [0] * len(part)) for part in parts]
    of_masks = [_masks(tree, [(masks[key], images[key]) for key in part]) for part in parts]
    return Published(
        "the image folder",
        tree.fingerprint(sorted(images.values())),
        1,
        lambda: (of_images[0], of_images[1] if parts[1] else None),
        notes=notes,
        masks=Published(
            "the masks",
            # Whether a mask fits is a question to its image too.
            tree.fingerprint(sorted([*images.values(), *masks.values()])),
            1,
            lambda: (of_masks[0], of_masks[1] if parts[1] else None),
        ),
    )


def with_masks(found: Cached, masks: Cached, ignore_index: int) -> Cached:
    """Images with their masks.

    Masks of 0 and 255 alone are of two classes; otherwise values are classes, but for the ignored one.

    Raises:
        DataError: there are no two classes, or the test masks have one of their own.
    """
    every = [part.images[:, 0] for part in (masks.labelled, masks.test) if part is not None]
    values = [torch.unique(part).tolist() for part in every]
    is_black_and_white = all({0, 255} >= {*part} for part in values) and ignore_index == IGNORED
    known = [{1 if is_black_and_white and value else value for value in part} - {ignore_index} for part in values]
    if len(known[0]) < 2:
        raise DataError(f"the masks have {len(known[0])} classes ({listed(sorted(known[0]))}); two or more are needed")
    if unknown := sorted(known[-1] - known[0]):
        raise unknown_classes(unknown, sorted(known[0]), "the masks")
    if is_black_and_white:
        every = [part.clamp(max=1) for part in every]
    elif ignore_index != IGNORED:
        every = [part.masked_fill(part == ignore_index, IGNORED) for part in every]
    labelled = replace(found.labelled, masks=every[0])
    test = None if found.test is None else replace(found.test, masks=every[1])
    return replace(found, labelled=labelled, test=test, num_classes=max(known[0]) + 1)


def _by_key(files: Sequence[str], folders: Collection[str], endings: tuple[str, ...]) -> dict[Key, str]:
    """The files below folders of such names, by what they share with their partners."""
    found: dict[Key, str] = {}
    for name in files:
        *above, last = PurePosixPath(name).parts
        if not any(part.casefold() in folders for part in above):
            continue
        stem = PurePosixPath(last).stem
        for ending in endings:
            if stem.casefold().endswith(ending):
                stem = stem[: -len(ending)]
                break
        key = (*(part for part in above if part.casefold() not in folders), stem)
        if key in found:
            raise DataError(f"{name} and {found[key]} have the same name but for their suffixes; keep one of them")
        found[key] = name
    return found


def _check_pairs(root: Path, images: Mapping[Key, str], masks: Mapping[Key, str]) -> None:
    for these, others, what, missing in ((images, masks, "images", "mask"), (masks, images, "masks", "image")):
        if alone := [these[key] for key in sorted(these.keys() - others.keys())]:
            raise DataError(
                f"{root}: {len(alone)} of {len(these)} {what} have no {missing} of the same name: {listed(alone)}; "
                f"add the {missing}s or take the {what} out"
            )


def _kind(key: Key) -> str | None:
    """The split that a file belongs to, by the folders above it."""
    found = [split for part in key[:-1] if (split := split_name(part)) is not None and split.is_plain]
    return found[-1].kind if found else None


def _masks(tree: Tree, pairs: Sequence[tuple[str, str]]) -> Encoded:
    """Mask files; one whose size is not that of its image is refused when it is read."""
    sizes = Decoder(None)

    def read(place: int) -> bytes:
        name, image = pairs[place]
        content = tree.read(name)
        width, height = sizes.size_of(content, name)
        wide, high = sizes.size_of(tree.read(image), image)
        if (width, height) != (wide, high):
            raise ImageError(name, f"it has {width}x{height} pixels, its image {wide}x{high}", "write them of one size")
        return content

    return Encoded([name for name, _ in pairs], [0] * len(pairs), read)
