"""Fixed geometric augmentation: flips, crops, affine maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from dabo_ray.augment import functional as F
from dabo_ray.augment.fixed import AnyDtypeAugmentation, FixedAugmentation, Params, check_batch
from dabo_ray.augment.masks import are_masks, moved_masks
from dabo_ray.transfer import sent_as


class _Moving(AnyDtypeAugmentation):
    """Moves masks as it moves images."""

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        return moved_masks(labels, lambda levels: self.transform(levels, params)) if are_masks(labels) else labels


class Flip(_Moving):
    """Mirror every second image, on average: left to right, or upside down.

    Args:
        vertical: upside down.

    >>> images = torch.arange(4.0).view(4, 1, 1, 1) / 4 * torch.tensor([0, 1])
    >>> Flip()(images, torch.Generator().manual_seed(0))[:, 0, 0].tolist()
    [[0.0, 0.0], [0.0, 0.25], [0.5, 0.0], [0.75, 0.0]]
    """

    def __init__(self, *, vertical: bool = False) -> None:
        self.axis = -2 if vertical else -1

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Whether to mirror."""
        return (torch.rand(num_images, generator=generator) < 0.5,)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Mirror the chosen images."""
        (mirrored,) = params
        rows = sent_as(mirrored.nonzero().squeeze(1), images, torch.int64)
        output = images.detach().clone(memory_format=torch.contiguous_format)
        F.put(output, rows, output.index_select(0, rows).flip(self.axis))
        return output


class Crop(_Moving):
    """Pad with zeros and crop to the old size at random.

    Args:
        padding: pixels on every side, at least 0; None: an eighth of the side, which is 4 for CIFAR's 32.

    Raises:
        ValueError: the padding is negative.

    Reference: He et al. 2016, section 4.2.

    >>> Crop(padding=1)(torch.ones(2, 1, 2, 2), torch.Generator().manual_seed(0))[:, 0].tolist()
    [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]
    """

    def __init__(self, *, padding: int | None = None) -> None:
        if padding is not None and padding < 0:
            raise ValueError(f"got padding={padding}; give 0 or more pixels, or None for an eighth of the side")
        self.padding = padding

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Where to crop, in [0, 1) of the room there is along y and x."""
        return (torch.rand(num_images, 2, generator=generator),)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Crop each image."""
        (corners,) = params
        margin_y, margin_x = (side // 8 if self.padding is None else self.padding for side in images.shape[-2:])
        num_places = torch.tensor([2 * margin_y + 1, 2 * margin_x + 1])
        top, left = (corners * num_places).long().unbind(dim=1)
        padded = pad(images.detach(), (margin_x, margin_x, margin_y, margin_y)).contiguous()
        of_row = padded.shape[-1]
        of_channel = of_row * padded.shape[-2]
        of_image = of_channel * padded.shape[1]
        # From its first to its last pixel a crop is a run of the padded image, equally long wherever it is: copying
        # runs is several times faster than picking pixels.
        length = of_image - 2 * margin_y * of_row - 2 * margin_x
        runs = padded.as_strided((max(0, padded.numel() - length + 1), length), (1, 1))
        first = torch.arange(len(images)) * of_image + top * of_row + left
        chosen = runs.index_select(0, sent_as(first, images, torch.int64))
        return chosen.as_strided(images.shape, (length, of_channel, of_row, 1)).contiguous()


class FlipCrop(_Moving):
    """The CIFAR recipe (He et al. 2016, section 4.2): `Crop`, whose `padding` it takes, then `Flip`.

    >>> FlipCrop()(torch.ones(2, 3, 32, 32), torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 32, 32])
    """

    def __init__(self, *, padding: int | None = None) -> None:
        self.crop, self.flip = Crop(padding=padding), Flip()

    def draw(self, num_images: int, generator: torch.Generator) -> Params:
        """Where to crop and whether to mirror."""
        return self.crop.draw(num_images, generator) + self.flip.draw(num_images, generator)

    def transform(self, images: Tensor, params: Params) -> Tensor:
        """Crop each image and mirror the chosen ones."""
        corners, mirrored = params
        return self.flip.transform(self.crop.transform(images, (corners,)), (mirrored,))


class RandomAffine(FixedAugmentation):
    """Rotate and scale about the centre, then translate: uniform draws, bilinear, zero outside the image.

    Args:
        degrees: largest rotation to either side, >= 0.
        translate: largest shift along each axis as a fraction of that side, >= 0.
        scale: smallest and largest magnification, > 0.

    Raises:
        ValueError: a range is negative, empty or not a magnification.

    >>> images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> still = RandomAffine(degrees=0, translate=0, scale=(1, 1))
    >>> torch.allclose(still(images, torch.Generator().manual_seed(1)), images, atol=1e-5)
    True
    """

    def __init__(
        self, *, degrees: float = 15.0, translate: float = 0.1, scale: tuple[float, float] = (0.9, 1.1)
    ) -> None:
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
        low, high = map(float, self.scale)
        scales = torch.lerp(torch.tensor(low), torch.tensor(high), uniform[:, 3])
        return angles, shifts, scales

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Warp each image."""
        check_batch(images, params)
        return F.affine_warp(images, sent_as(self._theta(images, params), images)).clamp(0, 1)

    def targets(self, labels: Tensor, images: Tensor, params: Params) -> Tensor:
        """Labels as they are, masks moved."""
        if not are_masks(labels):
            return labels
        theta = sent_as(self._theta(images, params), images, torch.float32)
        return moved_masks(labels, lambda levels: F.affine_nearest(levels, theta))

    def _theta(self, images: Tensor, params: Params) -> Tensor:
        angles, shifts, scales = params
        height, width = images.shape[-2:]
        matrix = F.rotation_matrix(angles)[:, :, :2] / scales[:, None, None]
        # out(p) = image(matrix (p - shift)), in pixels about the centre.
        offset = -matrix @ (shifts * torch.tensor([width, height]))[:, :, None]
        return F.theta_of(torch.cat((matrix, offset), dim=2), height, width)
