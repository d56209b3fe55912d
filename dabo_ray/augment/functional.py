"""Image operations with one parameter per image, batched, on any device, differentiable where they are smooth.

Images are floating point, (B, C, H, W), C = 1 or 3, values in [0, 1]; parameters are tensors of shape (B,).
Warp, brightness, contrast, saturation, hue, sharpness and autocontrast have gradients in the images and in their
parameters. Posterize and equalize work on the 256 levels of 8-bit images and have none. The definitions are those of
`torchvision.transforms.v2.functional`.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

# Shape suffixes: B images, C channels, H height, W width, N = H * W pixels, K = 256 levels.

_WORDS = (torch.complex128, torch.int64, torch.int32, torch.int16, torch.uint8)

Terms = tuple[Tensor, Tensor, Tensor]
"""Of the coordinates at which images are read: what grows along x, what grows along y, the offset."""


def affine_warp(images: Tensor, theta: Tensor) -> Tensor:
    """Resample each image under its own affine map.

    out(p) = image(theta @ [p, 1]), bilinear, zero outside the image.

    Convention: theta, (B, 2, 3), maps output to input coordinates; coordinates are (x, y), x to the right and y down,
    -1 and 1 at the outer edges of the border pixels (align_corners=False). The identity is [[1, 0, 0], [0, 1, 0]].
    Reference: Jaderberg et al. 2015, eq. 1.

    >>> half_a_side_to_the_left = torch.tensor([[[1.0, 0, 1], [0, 1, 0]]])
    >>> affine_warp(torch.arange(4.0).view(1, 1, 1, 4) / 4, half_a_side_to_the_left).tolist()
    [[[[0.5, 0.75, 0.0, 0.0]]]]
    """
    return sample(images, _sampling_terms(theta, *_centres(images, theta)), "bilinear")


def warp(images: Tensor, maps: Tensor) -> Tensor:
    """Resample each image under its own map of pixels, so that a rotation turns rectangular images as square ones.

    out(p) = image(linear p + offset), otherwise as `affine_warp`; `maps`, (B, 2, 3), are `linear`, which acts on pixels
    about the centre, and `offset`, in halves of the sides along x and y. On square images the two are the same.

    >>> half_turn, image = torch.tensor([[[-1.0, 0, 0], [0, -1, 0]]]), torch.tensor([[[[0.25, 0.5, 0.75]]]])
    >>> torch.allclose(warp(image, half_turn), image.flip(3))
    True
    """
    return affine_warp(images, theta_on_sides(maps, *images.shape[-2:]))


def nearest(images: Tensor, maps: Tensor) -> Tensor:
    """As `warp`, but each pixel is that nearest to where it is read: no new values, and images of any type."""
    return affine_nearest(images, theta_on_sides(maps, *images.shape[-2:]))


def affine_nearest(images: Tensor, theta: Tensor) -> Tensor:
    """As `affine_warp`, but each pixel is that nearest to where it is read."""
    height, width = images.shape[-2:]
    along_x, along_y, offset = _sampling_terms(theta, *_centres(images, theta))
    places = ((along_x + along_y).add_(offset) + 1) / 2
    column, row = (places[:, 0] * width - 0.5).round().long(), (places[:, 1] * height - 0.5).round().long()
    outside = (column < 0) | (column >= width) | (row < 0) | (row >= height)
    index = (row * width + column).masked_fill_(outside, 0).flatten(1)[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, index).view(images.shape).masked_fill_(outside[:, None], 0)


def theta_on_sides(maps: Tensor, height: int, width: int) -> Tensor:
    """The `theta` of `affine_warp` for the maps of `warp` and images of this size."""
    if height == width:
        return maps
    # By numbers of Python: a constant tensor would have to be sent to the device, which a graph cannot do.
    a, b, x, c, d, y = maps.flatten(1).unbind(1)
    return torch.stack((a, b * (height / width), x, c * (width / height), d, y), 1).view(-1, 2, 3)


def pixel_terms(matrix: Tensor, height: int, width: int) -> Terms:
    """What `sample` adds up under pixel matrices, (B, 2, 3), see `rotation_matrix`."""
    x_W, y_H = (
        torch.arange((1 - side) / 2, side / 2, device=matrix.device, dtype=matrix.dtype) for side in (width, height)
    )
    # Half way between two pixels the last bit decides: divide and sum in torchvision's order.
    halves = torch.stack([matrix.new_full((1,), side / 2) for side in (width, height)])
    return _sampling_terms(matrix / halves, x_W, y_H)


def sample(images: Tensor, terms: Terms, interpolation: str) -> Tensor:
    """Read images where the sums of the terms point to, zero outside; `interpolation` as in `grid_sample`."""
    along_x, along_y, offset = terms
    grid = (along_x + along_y).add_(offset).permute(0, 2, 3, 1)
    return grid_sample(images, grid, mode=interpolation, padding_mode="zeros", align_corners=False)


def _centres(images: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Where pixels of images have their middles along x and y, from -1 to 1, of the type and device of `like`."""
    height, width = images.shape[-2:]
    # A graph of a GPU makes its own, in memory that it may use again.
    middles = _kept_middles if like.device.type == "cpu" else _middles
    return middles(width, like.dtype, like.device), middles(height, like.dtype, like.device)


def _middles(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.arange(1, 2 * size, 2, dtype=dtype, device=device) / size - 1


@functools.lru_cache(maxsize=64)
def _kept_middles(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    # What inference makes could not take part in learning later.
    with torch.inference_mode(False):
        return _middles(size, dtype, device)


def _sampling_terms(matrix_B23: Tensor, x_W: Tensor, y_H: Tensor) -> Terms:
    """Along x, (B, 2, 1, W), along y, (B, 2, H, 1), and offset, (B, 2, 1, 1)."""
    along_x, along_y, offset = matrix_B23[..., None, None].unbind(dim=2)
    return along_x * x_W, along_y * y_H[:, None], offset


def rotation_matrix(angles: Tensor) -> Tensor:
    """Pixel matrices, (B, 2, 3), that turn images counter-clockwise by `angles` degrees about their centre.

    Convention: pixel matrices map output to input; the unit is the pixel, the origin the centre of the image, x to the
    right and y down. `theta_of` turns them into what `affine_warp` takes.
    """
    radians = torch.deg2rad(angles)
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    return torch.stack((cos, -sin, zero, sin, cos, zero), dim=1).view(-1, 2, 3)


def shear_matrix(x: Tensor, y: Tensor, height: int, width: int) -> Tensor:
    """Pixel matrices, (B, 2, 3), that shift row r by -x (r + 1/2) pixels and column c by -y (c + 1/2) pixels.

    The fixed point is the top left corner, as AutoAugment has it. Give one of `x`, `y` as zeros.
    """
    one = torch.ones_like(x)
    return torch.stack((one, x, x * (height / 2), y, one, y * (width / 2)), dim=1).view(-1, 2, 3)


def translation_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Pixel matrices, (B, 2, 3), that move images by `x` pixels to the right and `y` pixels down."""
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return torch.stack((one, zero, -x, zero, one, -y), dim=1).view(-1, 2, 3)


def theta_of(matrix: Tensor, height: int, width: int) -> Tensor:
    """The `theta` of `affine_warp` for pixel matrices, (B, 2, 3), and images of this size."""
    aspect = width / height
    scale = [[1.0, 1 / aspect, 2 / width], [aspect, 1.0, 2 / height]]
    return matrix * torch.tensor(scale, dtype=matrix.dtype, device=matrix.device)


def brightness(images: Tensor, factors: Tensor) -> Tensor:
    """Multiply by `factors` >= 0: 0 is black, 1 no change."""
    return (images * per_image(factors)).clamp(0, 1)


def contrast(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the mean grey of the image: `factors` 0 is uniform grey, 1 no change."""
    return _blend(images, grayscale(images).mean(dim=(1, 2, 3), keepdim=True), factors)


def saturation(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the grey image: `factors` 0 is grey, 1 no change. Images of one channel stay as they are."""
    return images if images.shape[1] == 1 else _blend(images, grayscale(images), factors)


def hue(images: Tensor, shifts: Tensor) -> Tensor:
    """Turn the hue by `shifts` of a full circle, in [-0.5, 0.5]. Images of one channel stay as they are."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images.unbind(dim=1)
    high, low = images.amax(dim=1), images.amin(dim=1)
    span = high - low
    # As weights of 0 or 1 masks are several times faster than with torch.where on the CPU.
    is_grey, is_red, is_green = (differences.detach().ge_(0) for differences in (low - high, red - high, green - high))
    # Grey has no hue; any divisor but zero keeps its gradient finite.
    divisor = span + is_grey
    blueish = torch.add(red - green, divisor, alpha=4)
    greenish = torch.add(blue - red, divisor, alpha=2)
    circles = blueish.lerp(greenish, is_green).lerp(green - blue, is_red) / (6 * divisor)
    # How far each channel is below the highest one, as a share of the span, is a trapezoid in the hue.
    offsets = shifts[:, None] - torch.arange(3, dtype=images.dtype, device=images.device) / 3
    circles = circles[:, None] + offsets[:, :, None, None]
    depth = (circles - circles.round()).abs().mul_(6).sub_(1).clamp(0, 1)
    return torch.addcmul(high[:, None], span[:, None], depth, value=-1)


def sharpness(images: Tensor, factors: Tensor) -> Tensor:
    """Blend with the smoothed image: `factors` 0 is smooth, 1 no change. The border stays as it is."""
    if min(images.shape[-2:]) <= 2:
        return images
    inner = images[..., 1:-1, 1:-1]
    output = images.clone()
    output[..., 1:-1, 1:-1] = _blend(inner, smooth_inner(images), factors)
    return output


def autocontrast(images: Tensor) -> Tensor:
    """Stretch each channel to the full range; a channel of one value stays as it is."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = high == low
    span = torch.where(flat, torch.ones_like(low), high - low)
    return (images - low.masked_fill(flat, 0)) / span


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the `bits` highest of the 8 bits of each level."""
    step = per_image(torch.bitwise_left_shift(torch.ones_like(bits), 8 - bits))
    return (to_levels(images) / step).floor_().mul_(step).div_(255).to(images.dtype)


def solarize(images: Tensor, thresholds: Tensor) -> Tensor:
    """Invert the values at or above `thresholds`, compared as 8-bit levels."""
    inverted = (to_levels(images) - per_image(thresholds * 255)).detach_().ge_(0)
    # As a weight of 0 or 1 the mask is several times faster than with torch.where on the CPU.
    return torch.lerp(images, 1 - images, inverted)


def equalize(images: Tensor) -> Tensor:
    """Make the histogram of each channel as uniform as PIL's scheme on 256 levels does, see `equalized_levels`."""
    return (equalized_levels(to_levels(images.detach().float())) / 255).to(images.dtype)


def equalized_levels(levels: Tensor) -> Tensor:
    """`equalize` for (B, C, H, W) whole numbers in 0..255, float32.

    With step = (pixels below the brightest level) // 255, level k becomes (pixels below k + step // 2) // step.
    Channels with step = 0 stay as they are.
    """
    index_BCN = levels.flatten(2).long()
    # Floats divide faster than integers; whole numbers below 2^24 are exact.
    counts_BCK = levels.new_zeros((*levels.shape[:2], 256))
    counts_BCK.scatter_add_(2, index_BCN, counts_BCK.new_ones(1).expand_as(index_BCN))
    num_brightest = counts_BCK.gather(2, levels.flatten(2).amax(dim=2, keepdim=True).long())
    step = ((index_BCN.shape[2] - num_brightest) / 255).floor_()
    below_BCK = counts_BCK.cumsum(dim=2) - counts_BCK
    table_BCK = below_BCK.add_((step / 2).floor_()).div_(step.clamp(min=1)).floor_().clamp_(max=255)
    unchanged_K = torch.arange(256, device=levels.device, dtype=levels.dtype)
    table_BCK = torch.where(step == 0, unchanged_K, table_BCK)
    return table_BCK.gather(2, index_BCN).view_as(levels)


def to_levels(images: Tensor) -> Tensor:
    """The 8-bit levels of images in [0, 1], as whole numbers in 0..255 of the same floating type."""
    return (images * 255).round_()


def to_unit(levels: Tensor) -> Tensor:
    """uint8 levels as float32 in [0, 1]."""
    return levels.float().div_(255)


def put(images: Tensor, rows: Tensor, others: Tensor) -> None:
    """Copy whole images to given rows; all are contiguous.

    A CPU copies number by number, so it is given as large numbers as fit into a row of pixels.
    """
    _words(images).index_copy_(0, rows, _words(others))


def _words(images: Tensor) -> Tensor:
    if images.device.type != "cpu":
        return images
    row = images.shape[-1] * images.element_size()
    return images.view(next(word for word in _WORDS if row % word.itemsize == 0))


def is_idle(values: Tensor, neutral: float) -> bool:
    """Whether an operation can be left out: its parameters are known, without waiting, to change none of the images.

    Where gradients are needed it never is, nor on a GPU, whose numbers would have to be waited for.
    """
    return not torch.is_grad_enabled() and values.device.type == "cpu" and bool((values == neutral).all())


def per_image(values: Tensor) -> Tensor:
    """Values of shape (B,) as (B, 1, 1, 1)."""
    return values.view(-1, 1, 1, 1)


def grayscale(images: Tensor) -> Tensor:
    """The luminance, (B, 1, H, W), with the weights 0.2989, 0.587, 0.114; one channel stays as it is.

    Raises:
        ValueError: If the images have neither one channel nor three.
    """
    if images.shape[1] == 1:
        return images
    if images.shape[1] != 3:
        raise ValueError(f"images have {images.shape[1]} channels; give grey images (1) or RGB images (3)")
    red, green, blue = torch.split(images, 1, dim=1)
    return torch.add(torch.add(red * 0.2989, green, alpha=0.587), blue, alpha=0.114)


def smooth_inner(images: Tensor) -> Tensor:
    """All but the border, (B, C, H - 2, W - 2), averaged over 3 x 3 neighbours, the centre weighing 5 of 13."""
    rows = (images[..., :-2, :] + images[..., 1:-1, :]).add_(images[..., 2:, :])
    box = (rows[..., :-2] + rows[..., 1:-1]).add_(rows[..., 2:])
    return box.add_(images[..., 1:-1, 1:-1], alpha=4).div_(13)


def _blend(images: Tensor, others: Tensor, factors: Tensor) -> Tensor:
    share = per_image(factors)
    return (images * share).add_(others * (1 - share)).clamp(0, 1)
