"""A learned augmenter as a transform of torchvision: what it takes, in which process, and what it refuses."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.drawn_ahead import DrawnAhead
from dabo_ray.augment.registry import AUGMENTERS
from dabo_ray.augment.transform import LearnedTransform


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(name: str, **options) -> Augmenter:
    torch.manual_seed(0)
    made = AUGMENTERS[name](hidden=8, **options)
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=seeded(3)))
    return made


@pytest.fixture
def affine() -> LearnedTransform:
    return LearnedTransform(shaken("affine"))


def picture(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=seeded(1))


def direct(transform: LearnedTransform, images: Tensor, seed: int, *context: Tensor):
    """What the transform should do to a batch of unit images, by the augmenter itself."""
    if len(images) == 1:
        torch.manual_seed(seed)
        return transform.augmenter.carry_out(images, DrawnAhead(transform.augmenter).row())
    (draws,) = transform.augmenter.draw(len(images), seeded(seed))
    return transform.augmenter(images, draws, *context)


@pytest.mark.parametrize("shape", [(3, 12, 10), (1, 12, 10), (5, 3, 8, 8), (2, 3, 1, 8, 8)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_float_tensors(affine, shape, dtype) -> None:
    images = (picture(*shape) / 255).to(dtype)
    torch.manual_seed(4)
    output = affine(images)
    assert type(output) is Tensor
    assert (output.shape, output.dtype) == (images.shape, dtype)
    expected = direct(affine, images.reshape(-1, *shape[-3:]), 4)
    assert torch.equal(output, expected.reshape(shape))
    assert not torch.equal(output, images)


@pytest.mark.parametrize("channels", [1, 3])
def test_all_kinds_of_images_are_changed_alike(affine, channels) -> None:
    levels = picture(channels, 12, 10)
    expected = direct(affine, levels[None].float(), 4)[0].round().to(torch.uint8)
    pil = Image.fromarray(
        levels.permute(1, 2, 0).squeeze(2).numpy() if channels == 1 else levels.permute(1, 2, 0).numpy()
    )
    for image in (levels, tv_tensors.Image(levels), pil):
        torch.manual_seed(4)
        output = affine(image)
        assert type(output) is (Image.Image if image is pil else type(image))
        as_tensor = tv.pil_to_tensor(output) if isinstance(output, Image.Image) else output.as_subclass(Tensor)
        # PIL does not blend the outermost half pixel with what is outside.
        whole = direct(affine, torch.ones(1, 1, 12, 10), 4)[0] > 1 - 1e-6
        margin = whole if image is pil else torch.ones_like(whole)
        difference = (as_tensor.int() - expected.int()).abs() * margin
        assert difference.max() <= (1 if image is pil else 0)
        assert whole.float().mean() > 0.4
    assert pil.mode == affine(pil).mode == ("L" if channels == 1 else "RGB")


def test_each_image_of_a_batch_has_its_own_draw(affine) -> None:
    image = picture(3, 8, 8)
    output = affine(image.expand(4, 3, 8, 8))
    assert len({tuple(row.flatten().tolist()) for row in output}) == 4


def test_structures_pass_through_as_in_torchvision(affine) -> None:
    image, label, mark = tv_tensors.Image(picture(3, 8, 8)), 7, torch.rand(5)
    sample = {"image": image, "rest": [label, mark, "name", None]}
    torch.manual_seed(4)
    output = affine(sample)
    assert output["rest"][0] == label and output["rest"][1] is mark and output["rest"][2:] == ["name", None]
    torch.manual_seed(4)
    alone, same_label = affine(image, label)
    assert torch.equal(output["image"], alone) and same_label == label
    assert affine("no image at all") == "no image at all"
    composed = v2.Compose([v2.ToImage(), affine, v2.ToDtype(torch.float32, scale=True)])
    assert composed(np.zeros((8, 8, 3), np.uint8)).shape == (3, 8, 8)


def test_images_of_one_sample_move_together(affine) -> None:
    image = tv_tensors.Image(picture(3, 8, 8))
    left, right = affine(image, image)
    assert torch.equal(left, right)
    with pytest.raises(ValueError, match="1 and 2 images"):
        affine(image, tv_tensors.Image(picture(2, 3, 8, 8)))


def test_randomness_is_torchs_global_generator(affine) -> None:
    image = picture(3, 8, 8)
    torch.manual_seed(0)
    first, second = affine(image), affine(image)
    torch.manual_seed(0)
    assert torch.equal(affine(image), first)
    assert not torch.equal(first, second)


class Pictures(Dataset):
    def __init__(self, transform: LearnedTransform) -> None:
        self.transform = transform

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int):
        return self.transform(tv_tensors.Image(torch.full((3, 8, 8), 200, dtype=torch.uint8)), index)


def test_in_workers_of_a_data_loader(affine) -> None:
    def epoch(seed: int) -> Tensor:
        loader = DataLoader(
            Pictures(affine), batch_size=4, num_workers=2, generator=seeded(seed), multiprocessing_context="fork"
        )
        batches = list(loader)
        assert [label for _, labels in batches for label in labels.tolist()] == list(range(8))
        return torch.cat([images for images, _ in batches])

    once, again, other = epoch(0), epoch(0), epoch(1)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert len({tuple(row.flatten().tolist()) for row in once}) == 8, "workers repeat each other"


def test_a_pickle_does_the_same(affine) -> None:
    image = picture(3, 8, 8)
    torch.manual_seed(1)
    expected = affine(image)
    torch.manual_seed(1)
    assert torch.equal(pickle.loads(pickle.dumps(affine))(image), expected)  # noqa: S301


def test_the_class_decides_and_must_be_given() -> None:
    made = shaken("affine", conditioning="class", num_classes=3)
    transform = LearnedTransform(made)
    images, labels = torch.rand(4, 3, 8, 8, generator=seeded()), torch.tensor([2, 0, 1, 2])
    torch.manual_seed(5)
    output, same = transform(images, labels)
    assert same is labels
    assert torch.equal(output, direct(transform, images, 5, *made.context(images, labels)))
    torch.manual_seed(5)
    single, _ = transform(images[0], 2)
    assert not torch.equal(single, images[0])
    with pytest.raises(ValueError, match=r"transform\(image, label\)"):
        transform(images)
    with pytest.raises(ValueError, match=r"transform\(image, label\)"):
        transform(images, torch.rand(4))
    with pytest.raises(ValueError, match="knows 0 to 2"):
        transform(images[0], 3)
    with pytest.raises(ValueError, match="2 labels for 4 images"):
        transform(images, labels[:2])


@pytest.mark.parametrize(
    ("name", "sample", "error", "message"),
    [
        ("affine", Image.new("CMYK", (8, 8)), ValueError, "mode CMYK"),
        ("affine_color", Image.new("RGBA", (8, 8)), ValueError, "mode RGBA"),
        ("affine_color", Image.new("P", (8, 8)), ValueError, "mode P"),
        ("affine", (Image.new("RGB", (8, 8)), Image.new("L", (8, 8))), ValueError, "tv_tensors.Mask"),
        ("affine_color", torch.zeros(2, 8, 8), ValueError, "C = 1 or 3"),
        ("affine", torch.zeros(8, 8), ValueError, r"images \(\.\.\., C, H, W\)"),
        ("affine", torch.zeros(3, 8, 8, dtype=torch.bool), ValueError, "bool"),
        ("affine_color", torch.zeros(3, 8, 8, dtype=torch.int16), ValueError, "uint8"),
        ("affine_color", torch.full((3, 8, 8), 255.0), ValueError, "from 255 to 255"),
        ("affine_color", torch.full((3, 8, 8), -0.1), ValueError, "v2.Normalize after"),
        ("policy", torch.full((3, 8, 8), float("nan")), ValueError, "from nan to nan"),
        ("affine", np.zeros((8, 8, 3), np.uint8), TypeError, "ToImage"),
        ("affine", (Image.new("RGB", (9, 8)), np.zeros((8, 9), np.uint8)), TypeError, "tv_tensors.Mask"),
        ("affine", (torch.zeros(3, 8, 9), torch.zeros(8, 9)), TypeError, "tv_tensors.Mask"),
        ("affine", (torch.zeros(2, 3, 8, 9), torch.zeros(2, 8, 9)), TypeError, "tv_tensors.Mask"),
        ("affine", (torch.zeros(2, 3, 8, 9), tv_tensors.Mask(torch.zeros(3, 8, 9))), ValueError, "masks for each"),
        (
            "affine",
            (torch.zeros(2, 3, 8, 9), tv_tensors.KeyPoints([[1.0, 2.0]], canvas_size=(8, 9))),
            ValueError,
            "image by image",
        ),
    ],
)
def test_what_is_refused(name, sample, error, message) -> None:
    transform = LearnedTransform(shaken(name))
    with pytest.raises(error, match=message):
        transform(sample)


def test_an_augmenter_that_looks_at_the_image_wants_it_in_0_to_1() -> None:
    transform = LearnedTransform(shaken("affine", conditioning="image"))
    torch.manual_seed(0)
    from_pil = transform(Image.fromarray(picture(12, 10, 3).numpy()))
    torch.manual_seed(0)
    from_tensor = transform(picture(12, 10, 3).permute(2, 0, 1))
    assert torch.equal(tv.pil_to_tensor(from_pil), from_tensor)
    for image in (torch.full((3, 8, 8), 255.0), Image.new("RGBA", (8, 8)), torch.zeros(4, 8, 8)):
        with pytest.raises(ValueError, match=r"\[0, 1\]|mode RGBA|C = 1 or 3"):
            transform(image)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_in_a_model_of_any_type(dtype) -> None:
    transform = LearnedTransform(shaken("affine"))
    model = torch.nn.Sequential(transform, torch.nn.Conv2d(3, 4, 3)).to(dtype)
    images = torch.rand(2, 3, 8, 8, generator=seeded()).to(dtype)
    assert model(images).dtype == dtype
    assert transform.augmenter.log_spread.dtype == torch.float32, "maps need more than 8 bits"
    torch.manual_seed(0)
    output = transform(images)
    expected = direct(transform, images.to(torch.promote_types(dtype, torch.float32)), 0)
    torch.testing.assert_close(output, expected.to(dtype))


def test_where_new_tensors_are_float64() -> None:
    transform = LearnedTransform(shaken("affine"))
    torch.set_default_dtype(torch.float64)
    try:
        for shape in ((3, 8, 8), (2, 3, 8, 8)):
            assert transform(torch.rand(shape, dtype=torch.float32)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("dtype", [torch.int16, torch.int32, torch.uint16, torch.float32])
def test_numbers_of_any_range_are_only_moved(affine, dtype) -> None:
    """Against torch's own grid and sampling, on numbers far outside of [0, 1] and more channels than three."""
    images = (picture(5, 12, 10).double() * 200).to(dtype)
    torch.manual_seed(3)
    output = affine(images)
    torch.manual_seed(3)
    (theta,) = DrawnAhead(affine.augmenter).row()
    theta = theta.double() * torch.tensor([[1, 12 / 10, 1], [10 / 12, 1, 1]], dtype=torch.float64)
    grid = torch.nn.functional.affine_grid(theta, [1, 5, 12, 10], align_corners=False)
    expected = torch.nn.functional.grid_sample(images[None].double(), grid, align_corners=False)[0]
    assert output.dtype == dtype
    assert expected.max() > 20_000
    torch.testing.assert_close(output.double(), expected, rtol=1e-4, atol=1.0 if not dtype.is_floating_point else 0.1)


@pytest.mark.parametrize("mode", ["1", "P", "L", "LA", "I", "I;16", "F", "RGB", "RGBA"])
def test_modes_of_pictures(affine, mode) -> None:
    """What PIL's own transform makes of it; a palette's numbers are not blended."""
    levels = Image.fromarray(picture(12, 10).numpy())
    image = levels.convert("RGB").convert(mode) if mode in ("P", "LA", "RGBA") else levels.convert(mode)
    torch.manual_seed(3)
    output = affine(image)
    assert (output.mode, output.size) == (image.mode, image.size)
    before, after = np.asarray(image), np.asarray(output)
    assert not np.array_equal(before, after)
    if mode in ("1", "P"):
        assert set(np.unique(after)) <= {*np.unique(before), 0}


def test_a_palette_beside_a_picture_is_a_mask() -> None:
    transform = LearnedTransform(shaken("affine_color"))
    masks = Image.fromarray((picture(12, 10) % 3).numpy()).convert("P")
    _, moved = transform(Image.new("RGB", (10, 12)), masks)
    assert moved.mode == "P"


def test_a_row_is_drawn_for_the_state_of_the_generator_alone(affine) -> None:
    image = picture(3, 8, 8)

    def after(seed: int, draws: int):
        torch.manual_seed(seed)
        torch.rand(draws)
        return affine(image)

    first = after(0, 0)
    others = [after(1, 0), after(0, 7), after(2, 3)]
    assert torch.equal(after(0, 0), first)
    assert not any(torch.equal(other, first) for other in others)
    again = copy.deepcopy(affine)
    torch.manual_seed(1)
    assert torch.equal(again(image), others[0])


def test_rows_drawn_ahead_have_the_distribution(affine) -> None:
    """Mean and spread of many single draws against those of one large batch of draws."""
    ahead = DrawnAhead(affine.augmenter)
    torch.manual_seed(0)
    rows = torch.cat([ahead.row()[0] for _ in range(4000)])
    (draws,) = affine.augmenter.draw(50_000, seeded(1))
    (expected,) = affine.augmenter.decide(draws)
    error = expected.std(0) / 4000**0.5
    assert ((rows.mean(0) - expected.mean(0)).abs() < 5 * error + 1e-6).all()
    torch.testing.assert_close(rows.std(0), expected.std(0), rtol=0.1, atol=1e-6)
    assert len({tuple(row) for row in rows.flatten(1).tolist()}) > 3000


@pytest.mark.parametrize("name", ["affine_color", "policy"])
def test_what_does_nothing_is_left_out_without_a_difference(name) -> None:
    """Image by image without gradients, where operations that are not drawn are skipped, against a whole batch."""
    made = shaken(name)
    images = torch.rand(40, 3, 10, 8, generator=seeded())
    decided = made.decide(*made.draw(40, seeded(2)))
    together = made.carry_out(images, decided)
    with torch.no_grad():
        alone = [
            made.carry_out(image[None], tuple(part[at : at + 1] for part in decided)) for at, image in enumerate(images)
        ]
    torch.testing.assert_close(torch.cat(alone), together, atol=1e-5, rtol=0)
