"""A learned policy: operations, each with a learned probability and learned magnitudes."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dabo_ray.augment import functional as F
from dabo_ray.augment.affine import AFFINE_OPERATIONS, GENERATORS, affine_map, affine_samples, affine_spread
from dabo_ray.augment.affine_color import BLENDS, NUM_KEYS, TONE_OPERATIONS, Tones, adjust_tones, tones_of
from dabo_ray.augment.coordinates import REST, CoordinateAugmenter
from dabo_ray.augment.fixed import Params
from dabo_ray.augment.straight_through import MAX_REMOVED_BITS, choose, equalize, erase, gate, posterize, solarize

SHARPNESS, POSTERIZE, SOLARIZE, ERASE = range(10, 14)
"""Places among the numbers; those of maps and tones come before."""

ONE_SIDED: dict[str, int] = {"posterize": POSTERIZE, "solarize": SOLARIZE, "erase": ERASE}
"""Operations whose strength is the size of their coordinate over pi, in [0, 1)."""

INITIAL_PROBABILITY = 0.5
"""Of operations that start small."""

INITIAL_ODD_PROBABILITY = 0.1
"""Of operations that have no small form, or are strong from the start."""

LARGEST_LOGIT = 6.0
"""Probabilities stay between 0.25 and 99.75 %, where a gate can still learn."""

_WHOLE: dict[str, Callable[[Tensor], Tensor]] = {"autocontrast": F.autocontrast, "equalize": equalize}
"""Operations without a magnitude, after the tones."""

_STRONG: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"posterize": posterize, "solarize": solarize}


class PolicyAugmenter(CoordinateAugmenter):
    """Draws for each image which operations are done to it, and how strongly.

    Operations come in this order: flip; rotation, scale, aspect, shear and translation as one warp; brightness,
    contrast, saturation and hue in random order; sharpness; autocontrast; equalize; posterize; solarize; erase.
    Magnitudes are coordinates, see `CoordinateAugmenter`; probabilities are sigmoids of learned logits, to which the
    network adds what is even in the noise, so that operations may depend on each other and on the context. What has no
    derivative is learned through stand-ins, see `straight_through`.

    The arguments are those of `Augmenter`; `noise` is at least one per magnitude.

    >>> augmenter = PolicyAugmenter(operations=["flip", "solarize"])
    >>> images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    >>> (draws,) = augmenter.draw(8, torch.Generator().manual_seed(1))
    >>> augmenter(images, draws).shape
    torch.Size([8, 3, 32, 32])
    >>> round(augmenter.spread(draws)["probability_flip"], 3)
    0.1
    """

    OPERATIONS = {
        "flip": (),
        **AFFINE_OPERATIONS,
        **TONE_OPERATIONS,
        "sharpness": (SHARPNESS,),
        "autocontrast": (),
        "equalize": (),
        "posterize": (POSTERIZE,),
        "solarize": (SOLARIZE,),
        "erase": (ERASE,),
    }
    INITIAL_SPREADS = dict.fromkeys(ONE_SIDED, 0.7)

    def add_weights(self) -> None:
        """The spreads and the logits."""
        super().add_weights()
        starts_small = AFFINE_OPERATIONS.keys() | TONE_OPERATIONS.keys() | {"sharpness"}
        first = [INITIAL_PROBABILITY if name in starts_small else INITIAL_ODD_PROBABILITY for name in self.operations]
        self.logit = nn.Parameter(LARGEST_LOGIT * torch.atanh(torch.tensor(first).logit() / LARGEST_LOGIT))
        if self.conditioning == "class":
            self.class_logit = nn.Parameter(torch.zeros(self.num_classes, len(first)))

    @torch.no_grad()
    def rest(self) -> bool:
        """Spreads of next to nothing, and no operation in more than a fourth of a percent of the images."""
        self.logit.sub_(REST)
        super().rest()
        return True

    @torch.no_grad()
    def wake(self) -> None:
        """The first spreads and probabilities again."""
        self.logit.add_(REST)
        super().wake()

    def even_outputs(self) -> int:
        """What the network adds to the logits, beside what it adds to the spreads."""
        return super().even_outputs() + len(self.operations)

    def chances(self) -> int:
        """One for each gate, the keys of an order, and where to erase."""
        return len(self.operations) + NUM_KEYS + 2

    def decisions(self, draws: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Coordinates and gates of each image.

        Returns:
            (B, K) coordinates of all operations; (B, G) logits of the operations in use, bounded; (B, G) gates, whether
            each is done.
        """
        raw = self.raw(draws, context)
        logits = self.logit + raw[:, -len(self.operations) :]
        if self.conditioning == "class" and context is not None:
            logits = logits + context @ self.class_logit
        logits = LARGEST_LOGIT * torch.tanh(logits / LARGEST_LOGIT)
        gates = gate(logits, self._chance(draws)[:, : len(self.operations)].abs())
        return self._coordinates(draws, raw, context), logits, gates

    def _chance(self, draws: Tensor) -> Tensor:
        return draws[:, -self.chances() :]

    def decide(self, draws: Tensor, context: Tensor | None = None) -> Params:
        """Coordinates, gates, and what is left to chance."""
        coordinates, _, gates = self.decisions(draws, context)
        return coordinates, gates, self._chance(draws)

    def change(self, images: Tensor, decided: Params) -> Tensor:
        """Images after their operations."""
        coordinates, gates, chance = decided
        done = dict(zip(self.operations, gates.unbind(1), strict=True))
        active = {name for name, gate in done.items() if not F.is_idle(gate, 0)}
        if "flip" in active:
            images = choose(done["flip"], images.flip(-1), images)
        if not active.isdisjoint(AFFINE_OPERATIONS):
            images = F.warp(images, self._theta(coordinates, done).to(images))
        if not active.isdisjoint(TONE_OPERATIONS):
            keys = chance[:, len(done) : len(done) + NUM_KEYS]
            images = adjust_tones(images, _gated_tones(coordinates, done), keys)
        if "sharpness" in active:
            images = F.sharpness(images, 1 + done["sharpness"] * (coordinates[:, SHARPNESS].exp() - 1))
        for name, whole in _WHOLE.items():
            if name in active:
                images = choose(done[name], whole(images), images)
        for name, strong in _STRONG.items():
            if name in active:
                images = choose(done[name], strong(images, _strength(coordinates, name)), images)
        if "erase" in active:
            centres = (chance[:, -2:] + 1) / 2
            images = erase(images, _strength(coordinates, "erase"), centres, done["erase"])
        return images

    def maps(self, decided: Params) -> Tensor:
        """The warp, with the flip that comes before it."""
        coordinates, gates, _ = decided
        done = dict(zip(self.operations, gates.unbind(1), strict=True))
        theta = self._theta(coordinates, done)
        if "flip" not in done:
            return theta
        across, down = theta.unbind(1)
        return torch.stack((across * (1 - 2 * done["flip"])[:, None], down), 1)

    def _theta(self, coordinates: Tensor, done: dict[str, Tensor]) -> Tensor:
        """Maps of the coordinates whose operations are done."""
        columns = list(coordinates[:, : len(GENERATORS)].unbind(1))
        for name, places in AFFINE_OPERATIONS.items():
            for place in places if name in done else ():
                columns[place] = columns[place] * done[name]
        return affine_map(torch.stack(columns, 1))

    @torch.no_grad()
    def samples(self, draws: Tensor, context: Tensor | None = None) -> dict[str, Tensor]:
        """Magnitudes where an operation is done, and how likely it is; each operation as if it were alone."""
        coordinates, logits, _ = self.decisions(draws, context)
        found: dict[str, Tensor] = {}
        for name in AFFINE_OPERATIONS:
            if name in self.operations:
                alone = {name: torch.ones_like(coordinates[:, 0])}
                others = {other: torch.zeros_like(coordinates[:, 0]) for other in AFFINE_OPERATIONS if other != name}
                of_map = affine_samples(self._theta(coordinates, others | alone))
                found |= {key: values for key, values in of_map.items() if key.startswith(name)}
        tones = tones_of(coordinates[:, len(GENERATORS) : SHARPNESS]).samples()
        found |= {key: values for key, values in tones.items() if key.rpartition("_")[0] in self.operations}
        if "sharpness" in self.operations:
            found["sharpness_factor"] = coordinates[:, SHARPNESS].exp()
        found |= self._one_sided(coordinates)
        likely = torch.sigmoid(logits).unbind(1)
        return found | {f"probability_{name}": p for name, p in zip(self.operations, likely, strict=True)}

    def _one_sided(self, coordinates: Tensor) -> dict[str, Tensor]:
        """Bits that are removed, and percent of the levels that are inverted, of the sides that are erased."""
        units = {"posterize": ("bits", MAX_REMOVED_BITS), "solarize": ("percent", 100), "erase": ("percent", 100)}
        return {
            f"{name}_{unit}": _strength(coordinates, name) * most
            for name, (unit, most) in units.items()
            if name in self.operations
        }

    @torch.no_grad()
    def spread(self, draws: Tensor, context: Tensor | None = None) -> dict[str, float]:
        """Standard deviations over all images, whether an operation is done to them or not; and the probabilities."""
        coordinates, logits, gates = self.decisions(draws, context)
        done = dict(zip(self.operations, gates.unbind(1), strict=True))
        found: dict[str, float] = {}
        if not done.keys().isdisjoint(AFFINE_OPERATIONS):
            found |= affine_spread(self._theta(coordinates, done))
        tones = _gated_tones(coordinates, done).spread()
        found |= {key: value for key, value in tones.items() if key.partition("_spread")[0] in done}
        if "sharpness" in done:
            factors = 1 + done["sharpness"] * (coordinates[:, SHARPNESS].exp() - 1)
            found["sharpness_spread_percent"] = 100 * float(factors.std(correction=0))
        for key, values in self._one_sided(coordinates).items():
            name, _, unit = key.partition("_")
            found[f"{name}_spread_{unit}"] = float((done[name] * values).std(correction=0))
        likely = torch.sigmoid(logits).mean(0).tolist()
        return found | {f"probability_{name}": p for name, p in zip(self.operations, likely, strict=True)}


def _strength(coordinates: Tensor, name: str) -> Tensor:
    return coordinates[:, ONE_SIDED[name]].abs() / math.pi


def _gated_tones(coordinates: Tensor, done: dict[str, Tensor]) -> Tones:
    """Tones of those operations that are done; linear in the gates."""
    tones = tones_of(coordinates[:, len(GENERATORS) : SHARPNESS])
    never = torch.zeros_like(tones.turns)
    gates = torch.stack([done.get(name, never) for name in BLENDS], 1)
    return Tones(1 + gates * (tones.factors - 1), done.get("hue", never) * tones.turns)
