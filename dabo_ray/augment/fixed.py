"""Hand-made augmentation: random transformations of a batch that are not learned.

Drawing is apart from applying: `draw` makes the random numbers of a global batch on the CPU, one row per image, and
`apply` takes the rows of whichever images it is given. So the result does not depend on the device, nor on how many
workers share the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from dabo_ray.augment import eight_bit, ops

Params = tuple[Tensor, ...]
"""Random numbers on the CPU; the first dimension of each tensor is the image."""


class FixedAugmentation(ABC):
    """A random transformation of images, (B, C, H, W), C = 1 or 3, floating point in [0, 1]."""

    @abstractmethod
    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Draw what `apply` needs for `num_images` images."""

    @abstractmethod
    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Transform each image by its row of `params`; the images given stay as they are."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for these images and apply."""
        return self.apply(images, self.draw(len(images), generator))


class Identity(FixedAugmentation):
    """No augmentation."""

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Nothing to draw."""
        return ()

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """The images themselves."""
        return images


class Flip(FixedAugmentation):
    """Mirror every second image, on average, left to right."""

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Whether to mirror."""
        return (torch.rand(num_images, generator=generator) < 0.5,)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Mirror the chosen images."""
        _check(images, params)
        (mirrored,) = params
        return torch.where(ops.per_image(mirrored.to(images.device)), images.flip(-1), images)


class FlipCrop(FixedAugmentation):
    """The CIFAR recipe: pad with zeros by an eighth of the side, crop to the old size at random, then `Flip`."""

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Where to crop, in [0, 1) of the room there is, and whether to mirror."""
        return torch.rand(num_images, 2, generator=generator), *Flip().draw(num_images, generator)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Crop and mirror."""
        _check(images, params)
        corners, *flip_params = params
        height, width = images.shape[-2:]
        margin_y, margin_x = height // 8, width // 8
        num_places = torch.tensor([2 * margin_y + 1, 2 * margin_x + 1])
        top, left = (corners * num_places).long().to(images.device).unbind(dim=1)
        padded = pad(images, (margin_x, margin_x, margin_y, margin_y))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        crops = windows[torch.arange(len(images), device=images.device), :, top, left]
        return Flip().apply(crops, tuple(flip_params))


class RandomAffine(FixedAugmentation):
    """Rotate and scale about the centre, then translate: uniform draws, bilinear, zero outside the image."""

    def __init__(
        self, *, degrees: float = 15.0, translate: float = 0.1, scale: tuple[float, float] = (0.9, 1.1)
    ) -> None:
        """Set the ranges.

        Args:
            degrees: Largest rotation to either side, >= 0.
            translate: Largest shift along each axis as a fraction of that side, >= 0.
            scale: Smallest and largest magnification, > 0.

        Raises:
            ValueError: If a range is negative, empty or not a magnification.
        """
        if degrees < 0 or translate < 0 or not 0 < scale[0] <= scale[1]:
            raise ValueError(
                f"got degrees={degrees}, translate={translate}, scale={scale}; "
                "degrees and translate must be at least 0, scale a pair (low, high) with 0 < low <= high"
            )
        self.degrees, self.translate, self.scale = degrees, translate, scale

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Angles in degrees, shifts (x, y) as fractions of the sides, magnifications."""
        uniform = torch.rand(num_images, 4, generator=generator)
        angles = self.degrees * (2 * uniform[:, 0] - 1)
        shifts = self.translate * (2 * uniform[:, 1:3] - 1)
        scales = torch.lerp(torch.tensor(self.scale[0]), torch.tensor(self.scale[1]), uniform[:, 3])
        return angles, shifts, scales

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Warp each image."""
        _check(images, params)
        angles, shifts, scales = params
        height, width = images.shape[-2:]
        matrix = ops.rotation_matrix(angles)[:, :, :2] / scales[:, None, None]
        # out(p) = image(matrix (p - shift)), in pixels about the centre.
        offset = -matrix @ (shifts * torch.tensor([width, height]))[:, :, None]
        theta = ops.theta_of(torch.cat((matrix, offset), dim=2), height, width)
        return ops.affine_warp(images, theta.to(images)).clamp(0, 1)


_BINS = 31
_SMALL = torch.linspace(0.0, 0.99, _BINS)
_PIXELS = torch.linspace(0.0, 32.0, _BINS)
_NONE = torch.zeros(_BINS)

TRIVIALAUGMENT_SPACE: dict[str, tuple[Tensor, bool]] = {
    "Identity": (_NONE, False),
    "ShearX": (_SMALL, True),
    "ShearY": (_SMALL, True),
    "TranslateX": (_PIXELS, True),
    "TranslateY": (_PIXELS, True),
    "Rotate": (torch.linspace(0.0, 135.0, _BINS), True),
    "Brightness": (_SMALL, True),
    "Color": (_SMALL, True),
    "Contrast": (_SMALL, True),
    "Sharpness": (_SMALL, True),
    "Posterize": ((8 - torch.arange(_BINS) / ((_BINS - 1) / 6)).round(), False),
    "Solarize": (torch.linspace(1.0, 0.0, _BINS), False),
    "AutoContrast": (_NONE, False),
    "Equalize": (_NONE, False),
}
"""Operation -> its magnitudes, and whether their sign is random. The order is the order of `TrivialAugmentWide`."""

_OPERATIONS: tuple[Callable[[Tensor, Tensor], Tensor], ...] = (
    lambda images, _: images,
    *(5 * [ops.nearest_warp]),
    eight_bit.brightness,
    eight_bit.saturation,
    eight_bit.contrast,
    eight_bit.sharpness,
    lambda images, bits: ops.posterize(images, bits.long()),
    ops.solarize,
    lambda images, _: eight_bit.autocontrast(images),
    lambda images, _: ops.equalize(images),
)
"""The operations of `TRIVIALAUGMENT_SPACE`, in its order; warps take their matrices, the others the magnitudes."""
_WARPS = slice(1, 6)


class TrivialAugmentWide(FixedAugmentation):
    """One operation at one strength for each image, both uniform; equals torchvision's transform on 8-bit images.

    Nearest pixel, zero outside the image. It is computed in float32, and the images are taken as multiples of 1/255.

    Reference: Mueller and Hutter, TrivialAugment, ICCV 2021, the wide space.
    """

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Which operation, as an index into `TRIVIALAUGMENT_SPACE`, and its magnitude with sign."""
        operations = torch.randint(len(TRIVIALAUGMENT_SPACE), (num_images,), generator=generator)
        bins = torch.randint(_BINS, (num_images,), generator=generator)
        negative = torch.rand(num_images, generator=generator) <= 0.5
        magnitudes, signed = zip(*TRIVIALAUGMENT_SPACE.values(), strict=True)
        magnitude = torch.stack(magnitudes)[operations, bins]
        return operations, torch.where(negative & torch.tensor(signed)[operations], -magnitude, magnitude)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Sort the images by operation, run each operation once, and put them back in order."""
        _check(images, params)
        operations, magnitudes = params
        order = operations.argsort(stable=True)
        # The sizes of the groups are known on the CPU, so an accelerator is never waited for.
        counts = operations.bincount(minlength=len(_OPERATIONS)).tolist()
        magnitudes = magnitudes[order]
        matrices = _warp_matrices(torch.split(magnitudes.double(), counts)[_WARPS], *images.shape[-2:])
        arguments = list(torch.split(magnitudes.to(images.device), counts))
        arguments[_WARPS] = torch.split(matrices.to(images.device, torch.float32), counts[_WARPS])

        images_f32 = images.float()
        output = torch.empty_like(images_f32)
        groups = torch.split(order.to(images.device), counts)
        for operation, rows, argument in zip(_OPERATIONS, groups, arguments, strict=True):
            if len(rows):
                output[rows] = operation(images_f32.index_select(0, rows), argument)
        return output.to(images.dtype)


def _warp_matrices(magnitudes: Sequence[Tensor], height: int, width: int) -> Tensor:
    """Pixel matrices of the images that drew ShearX, ShearY, TranslateX, TranslateY, Rotate, in this order."""
    shear_x, shear_y, shift_x, shift_y, angles = magnitudes
    return torch.cat(
        (
            ops.shear_matrix(shear_x, torch.zeros_like(shear_x), height, width),
            ops.shear_matrix(torch.zeros_like(shear_y), shear_y, height, width),
            ops.translation_matrix(shift_x.trunc(), torch.zeros_like(shift_x)),
            ops.translation_matrix(torch.zeros_like(shift_y), shift_y.trunc()),
            ops.rotation_matrix(angles),
        )
    )


def _check(images: Tensor, params: Params) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or not images.is_floating_point():
        raise ValueError(
            f"got images of shape {tuple(images.shape)} and type {images.dtype}; "
            "give a floating point batch (B, C, H, W) in [0, 1] with 1 or 3 channels"
        )
    if any(len(values) != len(images) for values in params):
        raise ValueError(
            f"got {len(images)} images but parameters for {[len(values) for values in params]}; "
            "take the rows of the parameters that belong to the images"
        )


FIXED: dict[str, type[FixedAugmentation]] = {
    "none": Identity,
    "flip": Flip,
    "flip_crop": FlipCrop,
    "affine": RandomAffine,
    "trivialaugment": TrivialAugmentWide,
}
"""Name in a study file -> augmentation."""
