"""Small data sets in exactly the layouts that are published, and what is in them."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

IDX_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
CIFAR_BATCHES = [f"data_batch_{number}" for number in range(1, 6)]
SYNSETS = ("n01443537", "n01629819", "n01641577")
BACH_CLASSES = ("Normal", "Benign", "InSitu", "Invasive")

Labelled = tuple[Tensor, Tensor]
"""(N, C, H, W) uint8 and (N,) int64."""


def random_bytes(*shape: int, high: int = 256, seed: int = 0) -> Tensor:
    return torch.randint(0, high, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def idx(array: Tensor, kind: int = 8) -> bytes:
    """Two zeros, type, number of dimensions, sizes (big-endian), bytes."""
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return bytes([0, 0, kind, array.ndim]) + sizes + array.numpy().tobytes()


def mnist(folder: Path, train: int = 30, test: int = 20, zipped: bool = True) -> tuple[Labelled, Labelled]:
    """MNIST's and Fashion-MNIST's four files."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = []
    for first, num in ((0, train), (2, test)):
        pixels, labels = random_bytes(num, 28, 28, seed=num), torch.arange(num).to(torch.uint8) % 10
        for name, array in zip(IDX_NAMES[first : first + 2], (pixels, labels), strict=True):
            content = idx(array)
            path = folder / (name if zipped else name.removesuffix(".gz"))
            path.write_bytes(gzip.compress(content) if zipped else content)
        parts.append((pixels[:, None], labels.long()))
    return parts[0], parts[1]


_PurePickler: Any = pickle._Pickler  # The stubs know only its C twin.


class Python2Pickler(_PurePickler):  # type: ignore[misc]
    """Writes bytes as Python 2 wrote its strings, and numpy arrays under the names of that time."""

    dispatch = dict(_PurePickler.dispatch)

    def save_text(self, content: bytes) -> None:
        short = len(content) < 256
        self.write(pickle.SHORT_BINSTRING + bytes([len(content)]) if short else b"T" + struct.pack("<i", len(content)))
        self.write(content)
        self.memoize(content)

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = {"_reconstruct": "numpy.core.multiarray", "ndarray": "numpy", "dtype": "numpy"}[obj.__name__]
        self.write(f"c{module}\n{obj.__name__}\n".encode())
        self.memoize(obj)

    dispatch[bytes] = save_text
    dispatch[type(np.dtype)] = save_global
    dispatch[type] = save_global
    dispatch[type(np.ndarray.__reduce__)] = save_global
    dispatch[type(len)] = save_global


def python2_pickle(value: Any) -> bytes:
    buffer = io.BytesIO()
    Python2Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()


def cifar_files(coarse: bool, binary: bool, num: int = 20) -> tuple[dict[str, bytes], Labelled, Labelled]:
    """Files of CIFAR-10 or, with coarse labels too, of CIFAR-100, and what is in them."""
    classes = 100 if coarse else 10
    train_names, test_name = (["train"], "test") if coarse else (CIFAR_BATCHES, "test_batch")
    files, parts = {}, []
    for seed, name in enumerate([*train_names, test_name]):
        pixels = random_bytes(num, 3072, seed=seed).numpy()
        labels = [(7 * seed + i) % classes for i in range(num)]
        parts.append((torch.from_numpy(pixels).view(num, 3, 32, 32), torch.tensor(labels)))
        if binary:
            records = [([label // 5] if coarse else []) + [label] for label in labels]
            rows = np.concatenate([np.array(records, np.uint8), pixels], 1)
            files[f"{name}.bin"] = rows.tobytes()
        else:
            names = [b"image_%d.png" % i for i in range(num)]
            batch: dict[bytes, Any] = {b"data": pixels, b"filenames": names, b"batch_label": name.encode()}
            if coarse:
                batch |= {b"fine_labels": labels, b"coarse_labels": [label // 5 for label in labels]}
            else:
                batch |= {b"labels": labels}
            files[name] = python2_pickle(batch)
    train = torch.cat([p for p, _ in parts[:-1]]), torch.cat([labels for _, labels in parts[:-1]])
    return files, train, parts[-1]


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def write_tar(path: Path, files: Mapping[str, bytes], extra: Iterable[tarfile.TarInfo] = ()) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for member in extra:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, files: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def encoded(pixels: Tensor, kind: str = "png") -> bytes:
    """A (3, H, W) image as a file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, kind)
    return buffer.getvalue()


def as_jpeg(pixels: Tensor) -> tuple[bytes, Tensor]:
    """A JPEG, and the pixels that are in it."""
    content = encoded(pixels, "jpeg")
    return content, torch.from_numpy(np.array(Image.open(io.BytesIO(content)))).permute(2, 0, 1)


def smooth(seed: int, height: int, width: int) -> Tensor:
    """An image that survives JPEG."""
    small = random_bytes(1, 3, 4, 4, seed=seed).float()
    return torch.nn.functional.interpolate(small, (height, width), mode="bilinear")[0].to(torch.uint8)


def tiny_imagenet(per_class: int = 6, num_val: int = 9) -> tuple[dict[str, bytes], Labelled, Labelled]:
    """Tiny-ImageNet-200's files below tiny-imagenet-200/, and what is in them, in the order of their names."""
    files = {"wnids.txt": "\n".join(reversed(SYNSETS)).encode(), "words.txt": b"n01443537\tgoldfish\n"}
    order = list(reversed(SYNSETS))
    pixels, labels = [], []
    for number, synset in enumerate(SYNSETS):
        boxes = ""
        for i in range(per_class):
            content, image = as_jpeg(smooth(100 * number + i, 64, 64))
            files[f"train/{synset}/images/{synset}_{i}.JPEG"] = content
            pixels.append(image)
            labels.append(order.index(synset))
            boxes += f"{synset}_{i}.JPEG\t0\t0\t62\t62\n"
        files[f"train/{synset}/{synset}_boxes.txt"] = boxes.encode()
    annotations, val_pixels, val_labels = "", [], []
    for i in range(num_val):
        content, image = as_jpeg(smooth(1000 + i, 64, 64))
        files[f"val/images/val_{i}.JPEG"] = content
        annotations += f"val_{i}.JPEG\t{order[i % 3]}\t0\t32\t44\t62\n"
        val_pixels.append(image)
        val_labels.append(i % 3)
    files["val/val_annotations.txt"] = annotations.encode()
    files["test/images/test_0.JPEG"] = content
    return files, (torch.stack(pixels), torch.tensor(labels)), (torch.stack(val_pixels), torch.tensor(val_labels))


def imagenet(folder: Path, per_class: int = 5, num_val: int = 6, sizes: tuple[int, int] = (40, 56)) -> list[str]:
    """ImageNet's train tree and flat val folder; gives the synset of each val image, in the order of their names."""
    for number, synset in enumerate(SYNSETS):
        for i in range(per_class):
            content, _ = as_jpeg(smooth(100 * number + i, *sizes))
            write_files(folder / "train" / synset, {f"{synset}_{i}.JPEG": content})
    val = []
    for i in range(num_val):
        content, _ = as_jpeg(smooth(1000 + i, *sizes))
        write_files(folder / "val", {f"ILSVRC2012_val_{i + 1:08d}.JPEG": content})
        val.append(SYNSETS[(2 * i + 1) % 3])
    return val


def devkit(folder: Path, val: list[str]) -> None:
    """The devkit's files: identities of synsets are not in the order of their names, and there are inner nodes."""
    from scipy.io import savemat

    identities = {SYNSETS[1]: 1, SYNSETS[2]: 2, SYNSETS[0]: 3, "n00001740": 4}
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")]
    rows = np.zeros((len(identities), 1), dtype=kinds)
    for row, (synset, number) in zip(rows, identities.items(), strict=True):
        row[0] = (number, synset, "words", "gloss", 3 if number == 4 else 0)
    data = folder / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    savemat(data / "meta.mat", {"synsets": rows})
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{identities[s]}\n" for s in val))


def bach(folder: Path, per_class: int = 4, width: int = 1024, height: int = 512) -> dict[str, Tensor]:
    """BACH's Photos folder; gives the images by name."""
    images = {}
    lines = ""
    for number, name in enumerate(BACH_CLASSES):
        for i in range(per_class):
            file = f"{name[0].lower() if name != 'InSitu' else 'is'}{'v' if name == 'Invasive' else ''}{i + 1:03d}.tif"
            images[file] = smooth(100 * number + i, height, width)
            write_files(folder / "Photos" / name, {file: encoded(images[file], "tiff")})
            lines += f"{file},{name}\n"
    (folder / "Photos" / "microscopy_ground_truth.csv").write_text(lines)
    return images


def hub_parquet(path: Path, images: list[bytes], labels: list[int], row_group: int = 4) -> None:
    """A file as the Hugging Face Hub has it: a struct of bytes and path, and whole numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"bytes": content, "path": f"{i}.png"} for i, content in enumerate(images)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"image": pa.array(rows, kind), "label": pa.array(labels)}), path, row_group_size=row_group)
