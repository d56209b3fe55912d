"""BACH: patches without overlap, labels from folders and list, folds, and a vote per image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dabo_ray.bilevel.evaluation import classification_scores
from dabo_ray.data.images import DataError, Images
from dabo_ray.data.sources import Reading, Source, load
from dabo_ray.data.splits import make_pools
from dabo_ray.workers import Workers
from tests.data.miniatures import BACH_CLASSES, bach, write_files
from tests.fake_workers import OneOf

IN_MEMORY = Reading(streaming=False)


def patches_of(image: torch.Tensor) -> list[torch.Tensor]:
    rows, columns = image.shape[1] // 512, image.shape[2] // 512
    return [image[:, 512 * r : 512 * r + 512, 512 * c : 512 * c + 512] for r in range(rows) for c in range(columns)]


def test_patches_cover_an_image_of_the_published_size(tmp_path: Path):
    images = bach(tmp_path, per_class=1, width=2048, height=1536)
    source = load("bach", tmp_path, IN_MEMORY)
    assert source.test is None and source.num_classes == 4
    assert source.labelled.shape == (3, 512, 512)
    assert source.labelled.labels.tolist() == [label for label in range(4) for _ in range(12)]
    expected = [
        patch for name in ("n001.tif", "b001.tif", "is001.tif", "iv001.tif") for patch in patches_of(images[name])
    ]
    assert torch.equal(source.labelled.images, torch.stack(expected))


@pytest.mark.parametrize("below", ["ICIAR2018_BACH_Challenge", "."])
def test_labels_are_those_of_the_folders(below: str, tmp_path: Path):
    bach(tmp_path / below, per_class=2)
    assert load("bach", tmp_path, IN_MEMORY).labelled.labels.bincount().tolist() == [4, 4, 4, 4]
    truth = tmp_path / below / "Photos" / "microscopy_ground_truth.csv"
    truth.write_text(truth.read_text().replace("b001.tif,Benign", "b001.tif,Invasive"))
    (tmp_path / below / "Photos" / "Benign" / "b003.tif").write_bytes(
        (tmp_path / below / "Photos" / "Benign" / "b001.tif").read_bytes()
    )
    with pytest.raises(DataError, match=r"b001\.tif lies in Benign, but .*ground_truth\.csv says Invasive"):
        load("bach", tmp_path, IN_MEMORY)


def test_a_published_fold(tmp_path: Path):
    images = bach(tmp_path, per_class=3)
    fold = tmp_path / "split_0" / "fold_4"
    rows = [
        f"ICIAR2018_BACH_Challenge/Photos/{c}/{n}001.tif,{c}"
        for c, n in zip(BACH_CLASSES, ("n", "b", "is", "iv"), strict=True)
    ]
    write_files(fold, {"test_s_0_f_4.csv": "\n".join(rows).encode(), "train_s_0_f_4.csv": b"x,y\n"})
    for streaming in (False, True):
        source = load("bach", tmp_path, Reading(fold=str(fold), streaming=streaming))
        assert source.test is not None
        assert len(source.labelled) == 16 and len(source.test) == 8
        expected = {bytes(p.numpy()) for name in ("n", "b", "is", "iv") for p in patches_of(images[f"{name}001.tif"])}
        assert {bytes(patch.numpy()) for patch in source.test.images} == expected
        assert source.test.labels.bincount().tolist() == [2, 2, 2, 2]


def test_folds_that_do_not_fit(tmp_path: Path):
    bach(tmp_path, per_class=1)
    with pytest.raises(DataError, match=r"looked for one file test\*\.csv in .*, found 0"):
        load("bach", tmp_path, Reading(fold=str(tmp_path), streaming=False))
    write_files(tmp_path, {"test.csv": b"Photos/Normal/n777.tif,Normal\n"})
    with pytest.raises(DataError, match=r"names 1 images that are not there, first n777\.tif"):
        load("bach", tmp_path, Reading(fold=str(tmp_path), streaming=False))
    write_files(tmp_path, {"test.csv": b"n001.tif\n"})
    with pytest.raises(DataError, match="lines must be"):
        load("bach", tmp_path, Reading(fold=str(tmp_path), streaming=False))


def test_damaged_and_missing(tmp_path: Path):
    with pytest.raises(DataError, match=r"BACH not found: looked for folders Normal, .*zenodo"):
        load("bach", tmp_path)
    bach(tmp_path, per_class=1)
    file = tmp_path / "Photos" / "InSitu" / "is001.tif"
    whole = file.read_bytes()
    file.write_bytes(whole[:5000])
    with pytest.raises(DataError, match=r"is001\.tif is not an image"):
        load("bach", tmp_path, IN_MEMORY)
    file.unlink()
    with pytest.raises(DataError, match=r"no \.tif images of InSitu"):
        load("bach", tmp_path, IN_MEMORY)


def grouped(num_groups: int, patches: int = 3) -> Images:
    """Patches whose pixels are the number of their image, mixed."""
    groups = torch.arange(num_groups).repeat_interleave(patches)
    groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(0))]
    return Images(groups.to(torch.uint8).view(-1, 1, 1, 1), groups % 2, wholes=groups)


def test_patches_of_an_image_stay_together():
    pools = make_pools(Source(grouped(60), None, 2), seed=0, select_fraction=0.2, test_fraction=0.25, num_labels=40)
    roles = pools.roles(learned=True, final=False, outer_fraction=0.2, seed=0)
    assert roles.outer is not None
    parts = [roles.fit, roles.outer, roles.score, pools.test]
    in_parts = [Counter(part.images.flatten().tolist()) for part in parts]
    assert all(set(counts.values()) == {3} for counts in in_parts)
    names = [name for counts in in_parts for name in counts]
    assert len(set(names)) == len(names)
    assert abs(len(in_parts[3]) - 15) <= 1 and abs(len(names) - len(in_parts[3]) - 40) <= 1
    for counts in in_parts[1:]:
        assert abs(2 * sum(name % 2 for name in counts) - len(counts)) <= 1


def judged(scores_of: Callable[[torch.Tensor], torch.Tensor], images: Images, workers: Workers) -> float:
    """The accuracy of a classifier that is a function."""

    class Function:
        classifier = torch.nn.Identity()

        def scores(self, weights: object, batch: torch.Tensor) -> torch.Tensor:
            return scores_of(batch)

    return classification_scores(Function(), [torch.zeros(1)], images, workers)["accuracy"]  # type: ignore[arg-type]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_patches_vote(world_size: int):
    """Against a count by hand; the workers' votes are added up."""
    images = grouped(20, patches=4)
    generator = torch.Generator().manual_seed(3)
    guess_of = torch.randn(len(images), 2, generator=generator)
    by_place = iter(())

    class Sum(OneOf):
        """Adds what each worker hands in, one after the other."""

        parts: list[torch.Tensor] = []

        def sum(self, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            self.parts.append(tensors[0])
            return [torch.stack(self.parts).sum(0)]

    found = 0.0
    for rank in range(world_size):
        workers = Sum(rank, world_size)
        by_place = iter(workers.shard(guess_of).split(512))
        found = judged(lambda _: next(by_place), images, workers)  # noqa: B023
    right = 0
    for group in range(20):
        mine = guess_of[images.wholes == group]
        votes = Counter(mine.argmax(1).tolist())
        tied = votes[0] == votes[1]
        winner = int(mine.softmax(1).sum(0).argmax()) if tied else max(votes, key=lambda k: votes[k])
        right += winner == group % 2
    assert found == pytest.approx(100 * right / 20)


def test_images_without_patches_are_counted_one_by_one():
    images = Images(torch.arange(10).to(torch.uint8).view(-1, 1, 1, 1), torch.arange(10) % 2)
    found = judged(
        lambda batch: torch.stack([1 - (255 * batch.flatten() < 4).float(), (255 * batch.flatten() < 4).float()], 1),
        images,
        Workers(),
    )
    # Labels 0 1 0 1 0 1 ..., guesses 1 1 1 1 0 0 0 0 0 0.
    assert found == pytest.approx(100 * (2 + 3) / 10)
