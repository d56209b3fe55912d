"""What another study has learned, from its file, to augment with as it is."""

from __future__ import annotations

from pathlib import Path

from dabo_ray.augment.export import load_augmenter
from dabo_ray.augment.learned import Frozen


class AugmenterFileError(ValueError):
    """A file of a learned augmenter that cannot be used; the message names what is wrong."""


def read_frozen(path: Path, num_classes: int) -> Frozen:
    """The learned distribution of a file.

    Args:
        path: what `export.save` wrote.
        num_classes: of the data to augment.

    Raises:
        AugmenterFileError: there is no such file, it is damaged or of another version, or it depends on the class and
            was learned on other classes.
    """
    try:
        augmenter = load_augmenter(path)
    except (ValueError, OSError) as error:
        raise AugmenterFileError(f"cannot use the augmenter file: {error}") from None
    if augmenter.conditioning == "class" and augmenter.num_classes != num_classes:
        raise AugmenterFileError(
            f"the augmenter file {path} depends on the class and was learned on {augmenter.num_classes} classes, the "
            f"data have {num_classes}; give one that was learned without conditioning, or on the same classes"
        )
    return Frozen(augmenter)
