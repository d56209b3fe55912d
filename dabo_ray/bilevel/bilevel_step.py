"""BilevelStep: learned augmentation in a training loop of one's own."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from dabo_ray.augment.augmenter import Augmenter
from dabo_ray.augment.masks import are_masks
from dabo_ray.augment.with_masks import augmented_by, class_planes
from dabo_ray.bilevel.arguments import check_masks, check_options, checked_images
from dabo_ray.bilevel.dropout import Masks
from dabo_ray.bilevel.estimator import Estimator
from dabo_ray.bilevel.graphs import make_updates
from dabo_ray.bilevel.hypergradient import InnerStep
from dabo_ray.bilevel.objective import Objective
from dabo_ray.bilevel.readiness import Readiness
from dabo_ray.bilevel.schedule import lr_factor
from dabo_ray.bilevel.sgd import Differentiate, Tensors
from dabo_ray.bilevel.shrunk_adam import ShrunkAdam
from dabo_ray.bilevel.step import OuterLossLearner, Updates
from dabo_ray.bilevel.torch_sgd import TorchSgd, assign_buffers
from dabo_ray.data.loader import Batch
from dabo_ray.seeds import derive
from dabo_ray.transfer import sent_as
from dabo_ray.workers import Workers

DEFAULT_UPDATES = 1000
"""Of the augmenter in a training of unknown length."""

WARMUP = 0.1
"""Part of a training of known length, the first one, in which the augmenter stays as it is."""

WARMUP_LOSS = 0.2
"""Part of the first training loss, down to which the augmenter rests."""


class BilevelStep:
    """A training step of a classifier that learns its augmentation too (DABO, Mounsaveng et al. 2021, algorithm 1).

    In the place of forward pass, backward pass and `optimizer.step()`: the classifier takes an SGD step on augmented
    training images; every `inner_steps` steps the gradient of the loss on outer images at the updated weights flows
    back through the latest `truncation` steps to the augmenter, and updates it. Outer images are a part of the training
    data that the classifier is not trained on; they must not be those that the result is judged by.

    Weights, running statistics and momentum are where torch keeps them, in `model` and `optimizer`, after every step:
    evaluate, save and load them as ever, and step any scheduler of the optimizer's learning rate. The model is in the
    mode that it is put in: call `model.train()`.

    Args:
        model: classifier from images (B, C, H, W) to what `loss` takes, such as class scores. What is done to images
            before it, as normalisation, belongs into it: the augmenter needs images in [0, 1]. All its randomness must
            be that of `nn.Dropout`.
        optimizer: torch.optim.SGD of parameters of the model, with any groups, momentum, nesterov and weight decay.
        augmenter: changed in place; on the device of the model.
        inner_steps: classifier steps between two augmenter updates (M), >= 1. More cost less.
        truncation: latest classifier steps that the hypergradient flows through (K), >= 1. Each costs another pass that
            is differentiated twice.
        loss: (what the model gives, labels) -> mean over the images, a scalar.
        mask_classes: for segmentation, the classes of pixels: labels are (B, H, W) masks of them, 255 where a pixel is
            ignored. They are moved with the images, and the loss takes (B, mask_classes, H, W) shares of the classes
            in each pixel, which sum to less than 1 where it is ignored or came from outside; cross entropy does.
        augmenter_optimizer: of the augmenter's weights; None: `ShrunkAdam.for_augmenter`, whose learning rate is
            annealed to zero if `total_steps` is known.
        total_steps: classifier steps of the whole training; None: unknown.
        warmup_steps: classifier steps, the first ones, in which the augmenter stays as it is, >= 0: before the
            classifier has learned something, its outer loss says little about augmentation. None: a tenth of
            `total_steps` if they are known.
        warmup_loss: until the training loss has fallen to this part of what it was in the first step, in (0, 1], the
            augmenter rests: images are left as they are, since augmentation slows a training down as long as the model
            does not fit its training images. A loss that cannot come near zero, as with label smoothing, needs more, or
            None: wait for `warmup_steps` alone, in which the augmenter does what it does before learning.
        differentiate: `direction`: where a step points, with its length as given; `update`: all of it, as published.
        antithetic: differentiate with each image's noise and with the opposite noise: less noise in the hypergradient,
            for the cost of the images twice. `False` with `mixed_batch_fraction=1` shares the pass of the step.
        mixed_batch_fraction: part of a batch, in (0, 1], that is differentiated twice; the batch must be shuffled.
        clip_norm: largest norm of the classifier's gradient, as torch.nn.utils.clip_grad_norm_; None: any.
        seed: of the augmentation's noise and of dropout.
        cuda_graphs: replay steps on a GPU as CUDA graphs, several times faster for small networks, for images of one
            shape and a model that does the same in every step: what Python decides is decided once.

    Raises:
        ValueError: an argument is out of its range, or the optimizer is none of these.

    Example:
        >>> import torch
        >>> from dabo_ray import AffineAugmenter, BilevelStep
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        >>> trainer = BilevelStep(model, optimizer, AffineAugmenter(), warmup_loss=None)
        >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 10
        >>> sorted(trainer.step(images[:8], labels[:8], images[8:], labels[8:]))
        ['hypergradient_norm', 'outer_loss', 'train_loss']
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.SGD,
        augmenter: Augmenter,
        *,
        inner_steps: int = 1,
        truncation: int = 1,
        loss: Callable[[Any, Tensor], Tensor] = cross_entropy,
        mask_classes: int | None = None,
        augmenter_optimizer: torch.optim.Optimizer | None = None,
        total_steps: int | None = None,
        warmup_steps: int | None = None,
        warmup_loss: float | None = WARMUP_LOSS,
        differentiate: Differentiate = "direction",
        antithetic: bool = True,
        mixed_batch_fraction: float = 1.0,
        clip_norm: float | None = None,
        seed: int = 0,
        cuda_graphs: bool = False,
    ) -> None:
        check_options(
            inner_steps,
            truncation,
            total_steps,
            warmup_steps,
            warmup_loss,
            differentiate,
            mixed_batch_fraction,
            clip_norm,
            mask_classes,
        )
        self.model = model
        self.augmenter = augmenter
        self.steps = 0
        """Classifier steps so far."""
        self._late = None if total_steps is None else math.ceil(total_steps / 2)
        self._loss = loss
        self._mask_classes = mask_classes
        self._seed = seed
        self._sgd = TorchSgd(model, optimizer, clip_norm, differentiate)
        self._device, self._dtype = self._sgd.parameters[0].device, self._sgd.parameters[0].dtype
        if (found := next(augmenter.parameters()).device) != self._device:
            raise ValueError(f"the augmenter is on {found}, the model on {self._device}; move it: augmenter.to(device)")
        self._objective = Objective(model, self._criterion, names=self._sgd.names)
        self._outer: dict[int, Batch] = {}
        warmup = round(WARMUP * (total_steps or 0)) if warmup_steps is None else warmup_steps
        num_updates = DEFAULT_UPDATES if total_steps is None else max(1, (total_steps - warmup) // inner_steps)
        is_annealed = augmenter_optimizer is None and total_steps is not None
        estimator = Estimator(
            workers=Workers(),
            fraction=mixed_batch_fraction,
            antithetic=augmenter.antithetic if antithetic else None,
        )
        self._learner = OuterLossLearner(
            augmenter,
            self._outer,
            inner_steps=inner_steps,
            truncation=truncation,
            optimizer=augmenter_optimizer or ShrunkAdam.for_augmenter(augmenter, num_updates),
            lr_factor=(lambda update: lr_factor("cosine", min(update / num_updates, 1.0))) if is_annealed else None,
            warmup=warmup,
            readiness=None if warmup_loss is None else Readiness(warmup_loss, warmup),
            estimator=estimator if antithetic or mixed_batch_fraction < 1 else None,
        )
        updates = make_updates if cuda_graphs else Updates
        self._updates = updates(self._objective, self._augment, self._learner, workers=Workers(), device=self._device)

    def step(
        self,
        images: Tensor,
        labels: Tensor,
        outer_images: Tensor | None = None,
        outer_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One step of the classifier and, every `inner_steps` steps, an update of the augmenter.

        Args:
            images: (B, C, H, W) to train on, C = 1 or 3: uint8, or floating point in [0, 1]; on any device.
            labels: (B,) classes, or what `loss` takes.
            outer_images: (B', C, H, W), as `images`; needed only when an update is due.
            outer_labels: of the outer images.

        Returns:
            `train_loss`; after an update of the augmenter also `outer_loss` and `hypergradient_norm`: on the device.

        Raises:
            ValueError: images of another shape or type, or no outer images where an update is due.
            Diverged: on the CPU, where a loss or gradient is not finite; elsewhere see `raise_if_diverged`.
        """
        if self._learner.is_due_after(self.steps):
            if outer_images is None or outer_labels is None:
                every = self._learner.inner_steps
                raise ValueError(
                    f"the augmenter is due for its update after step {self.steps} (inner_steps is {every}); give outer "
                    "images and labels, in every step for simplicity"
                )
            self._outer[self._learner.updates] = self._batch(outer_images, outer_labels)
        step = self._inner_step(self._batch(images, labels))
        self._objective.buffers = dict(self.model.named_buffers())
        found = self._updates.make(self.steps, step, self._sgd.velocity())
        self._sgd.count()
        assign_buffers(self.model, self._objective.buffers)
        self._outer.clear()
        self.steps += 1
        if self._learner.readiness is not None and self.steps == self._late:
            warnings.warn(
                f"after {self.steps} steps the training loss is over {self._learner.readiness.share:g} of its first "
                "value (warmup_loss), so the augmenter still rests; train longer, or give another warmup_loss",
                stacklevel=2,
            )
        return found

    def raise_if_diverged(self) -> None:
        """Looks at a GPU, which is not looked at in every step; once per epoch is enough.

        Raises:
            Diverged: a loss or a gradient was not finite. Nothing has moved since.
        """
        self._updates.guard.raise_if_diverged()

    def state_dict(self) -> dict[str, Any]:
        """What model and optimizer do not have: the augmenter, its optimiser, the count of steps.

        For `truncation` > 1 the first updates after loading flow through fewer steps.
        """
        return self._learner.state_dict() | {"steps": self.steps, "window": []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from `state_dict`."""
        self._learner.load_state_dict(state)
        self.steps = state["steps"]

    def _batch(self, images: Tensor, labels: Tensor) -> Batch:
        # Looking at the values waits for the device: once.
        images = checked_images(images.to(self._device, non_blocking=True), labels, look=self.steps == 0)
        check_masks(images, labels, self._mask_classes)
        return Batch(images.to(self._dtype), labels.to(self._device, non_blocking=True), len(images))

    def _inner_step(self, batch: Batch) -> InnerStep:
        generator = torch.Generator().manual_seed(derive(self._seed, "augment", self.steps))
        like = self._learner.theta[0]
        drawn = (sent_as(part, like) for part in self.augmenter.draw(batch.size, generator))
        has_dropout = self._objective.has_dropout
        return InnerStep(
            weights=self._sgd.weights(),
            theta=self._learner.theta,
            images=batch.images,
            labels=batch.labels,
            params=(*drawn, *self.augmenter.context(batch.images, batch.labels)),
            size=batch.size,
            sgd=self._sgd.rule(),
            masks=Masks(derive(self._seed, "dropout", self.steps), Workers(), batch.size) if has_dropout else None,
        )

    def _augment(
        self, theta: Tensors, images: Tensor, labels: Tensor, params: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        return augmented_by(self.augmenter, theta, images, labels, params, num_classes=self._mask_classes)

    def _criterion(self, scores: Tensor, labels: Tensor) -> Tensor:
        if self._mask_classes is not None and are_masks(labels):
            labels = class_planes(labels, self._mask_classes, scores)
        return self._loss(scores, labels) * len(labels)
