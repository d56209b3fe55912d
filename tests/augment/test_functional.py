"""Each operation against torchvision, one image at a time, and its gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.transforms.v2 import functional as tv
from torchvision.transforms.v2.functional import InterpolationMode

from dabo_ray.augment import functional as F

Operation = Callable[[Tensor, Tensor], Tensor]

FACTORS = torch.tensor([0.0, 0.3, 0.99, 1.0, 1.01, 1.7, 2.0])
SHIFTS = torch.tensor([-0.5, -0.31, -0.1, 0.0, 0.1, 0.27, 0.5])


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def noise(num_images: int, channels: int, height: int = 12, width: int = 20) -> Tensor:
    return torch.randint(0, 256, (num_images, channels, height, width), dtype=torch.uint8, generator=seeded())


def digits(num_images: int) -> Tensor:
    return torch.from_numpy(load_digits().images[:num_images, None] * 15.9).to(torch.uint8)


SMOOTH: dict[str, tuple[Operation, Operation, Tensor]] = {
    "brightness": (F.brightness, tv.adjust_brightness, FACTORS),
    "contrast": (F.contrast, tv.adjust_contrast, FACTORS),
    "saturation": (F.saturation, tv.adjust_saturation, FACTORS),
    "hue": (F.hue, tv.adjust_hue, SHIFTS),
    "sharpness": (F.sharpness, tv.adjust_sharpness, FACTORS),
}


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("channels", [1, 3])
def test_smooth_tones_equal_torchvision_on_floats(name: str, channels: int) -> None:
    operation, reference, values = SMOOTH[name]
    images = noise(len(values), channels) / 255
    images[0, :, :4] = 0.5
    expected = torch.stack([reference(image, value.item()) for image, value in zip(images, values, strict=True)])
    torch.testing.assert_close(operation(images, values), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_tones_have_gradients(name: str) -> None:
    operation, _, _ = SMOOTH[name]
    images = (torch.rand(2, 3, 4, 5, dtype=torch.float64, generator=seeded()) * 0.5 + 0.2).requires_grad_()
    values = torch.tensor([0.8, 1.1], dtype=torch.float64) if name != "hue" else torch.tensor([0.11, -0.23]).double()
    assert torch.autograd.gradcheck(operation, (images, values.requires_grad_()))


def test_hue_of_grey_pixels_has_finite_gradients() -> None:
    images = torch.full((1, 3, 2, 2), 0.4, requires_grad=True)
    (gradient,) = torch.autograd.grad(F.hue(images, torch.tensor([0.2])).sum(), images)
    assert gradient.isfinite().all()


def test_autocontrast_equals_torchvision_and_has_gradients() -> None:
    images = noise(5, 3) / 255 * 0.5 + 0.2
    images[0, 1] = 0.25
    torch.testing.assert_close(F.autocontrast(images), tv.autocontrast(images))
    smooth = torch.rand(2, 1, 3, 4, dtype=torch.float64, generator=seeded()).requires_grad_()
    assert torch.autograd.gradcheck(F.autocontrast, (smooth,))


@pytest.mark.parametrize("images", [noise(9, 3), noise(9, 1), digits(9)], ids=["noise", "grey noise", "digits"])
def test_posterize_and_solarize_equal_torchvision_on_levels(images: Tensor) -> None:
    bits = torch.arange(9)
    expected = torch.stack([tv.posterize(image, int(bit)) for image, bit in zip(images, bits, strict=True)])
    assert torch.equal(F.posterize(images / 255, bits), expected / 255)

    thresholds = torch.linspace(0, 1, 9)
    expected = torch.stack(
        [tv.solarize(image, 255 * float(value)) for image, value in zip(images, thresholds, strict=True)]
    )
    torch.testing.assert_close(F.solarize(images / 255, thresholds), expected / 255, atol=1e-7, rtol=0)


def test_solarize_has_gradients_in_the_images() -> None:
    images = torch.tensor([0.0, 0.3, 0.8, 1.0]).view(1, 1, 2, 2).requires_grad_()
    (gradient,) = torch.autograd.grad(F.solarize(images, torch.tensor([0.5])).sum(), images)
    assert gradient.flatten().tolist() == [1, 1, -1, -1]


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (64, 40)])
def test_equalize_equals_torchvision_on_levels(size: tuple[int, int]) -> None:
    images = noise(6, 3, *size)
    images[1] //= 4
    images[2] = (images[2].float() ** 2 / 255).to(torch.uint8)
    images[3] = 17
    images[4, 0] = images[4, 0] // 200 * 255
    assert torch.equal(F.equalize(images / 255), tv.equalize(images) / 255)
    assert torch.equal(F.equalize(digits(50) / 255), tv.equalize(digits(50)) / 255)


def test_levels_survive_every_way_of_scaling() -> None:
    levels = torch.arange(256.0)
    for images in (levels / 255, levels * (1 / 255), (levels.double() / 255).float(), levels.double() / 255):
        assert torch.equal(F.to_levels(images).float(), levels)


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
def test_affine_warp_equals_torch_and_has_gradients(size: tuple[int, int]) -> None:
    theta = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]]).repeat(3, 1, 1)
    theta[1:] += torch.randn(2, 2, 3, generator=seeded()) * 0.3
    images = noise(3, 3, *size) / 255
    grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    expected = torch.nn.functional.grid_sample(images, grid, align_corners=False)
    output = F.affine_warp(images, theta)
    torch.testing.assert_close(output, expected, atol=2e-5, rtol=0)
    torch.testing.assert_close(output[0], images[0], atol=2e-5, rtol=0)

    exact = (images[1:, :1, :5, :6].double().requires_grad_(), theta[1:].double().requires_grad_())
    assert torch.autograd.gradcheck(F.affine_warp, exact)


@pytest.mark.parametrize("size", [(16, 16), (9, 14)])
def test_matrices_equal_torchvision_through_the_bilinear_warp(size: tuple[int, int]) -> None:
    height, width = size
    images = noise(5, 3, height, width) / 255
    amounts = torch.tensor([-0.9, -0.2, 0.0, 0.35, 0.8])
    zeros = torch.zeros_like(amounts)
    bilinear = InterpolationMode.BILINEAR
    degrees = torch.rad2deg(torch.atan(amounts)).tolist()
    cases: list[tuple[Tensor, list[Tensor]]] = [
        (
            F.rotation_matrix(amounts * 100),
            [tv.rotate(x, a * 100, bilinear) for x, a in zip(images, amounts.tolist(), strict=True)],
        ),
        (
            F.shear_matrix(amounts, zeros, height, width),
            [
                tv.affine(x, 0.0, [0, 0], 1.0, [d, 0.0], bilinear, center=[0, 0])
                for x, d in zip(images, degrees, strict=True)
            ],
        ),
        (
            F.shear_matrix(zeros, amounts, height, width),
            [
                tv.affine(x, 0.0, [0, 0], 1.0, [0.0, d], bilinear, center=[0, 0])
                for x, d in zip(images, degrees, strict=True)
            ],
        ),
        (
            F.translation_matrix(amounts * 5, amounts * 3),
            [
                tv.affine(x, 0.0, [a * 5, a * 3], 1.0, [0.0, 0.0], bilinear)
                for x, a in zip(images, amounts.tolist(), strict=True)
            ],
        ),
    ]
    for matrix, expected in cases:
        output = F.affine_warp(images, F.theta_of(matrix, height, width))
        torch.testing.assert_close(output, torch.stack(expected), atol=1e-4, rtol=0)


def test_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="2 channels"):
        F.contrast(torch.rand(1, 2, 4, 4), torch.ones(1))
