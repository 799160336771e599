"""What model-based metrics share: weights on disk or downloaded, batches of tokens, old tokenizer methods."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from harness.core.files import digest_of
from harness.core.packages import absent

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")


def hub_file(repository: str, name: str, download: bool = False) -> Path | None:
    """A file of a Hugging Face repository from the local cache, fetched first if ``download``."""
    if absent("huggingface_hub"):
        return None
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    path = try_to_load_from_cache(repository, name)
    if isinstance(path, str):
        return Path(path)
    return Path(hf_hub_download(repository, name)) if download else None


def weights_digest(path: Path) -> str:
    """Eight hex digits of a weights file, read again only if it changed."""
    status = path.stat()
    return _digest(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=32)
def _digest(path: Path, *state: int) -> str:
    return digest_of(path)[:8]


def token_batches(lengths: Sequence[int], limit: int = 4096) -> Iterator[list[int]]:
    """Indices of texts of like length, short ones first, in batches of at most ``limit`` tokens with padding.

    A text that is longer than the limit is a batch of its own.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[index] > limit:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def padded(lines: Sequence[Sequence[int]], padding: int, device: Any) -> tuple[Tensor, Tensor]:
    """Token ids of a batch and its attention mask, both int64 (n, longest)."""
    import torch

    width = max(map(len, lines))
    ids = torch.tensor([[*line, *[padding] * (width - len(line))] for line in lines], device=device)
    lengths = torch.tensor([len(line) for line in lines], device=device)
    return ids, (torch.arange(width, device=device) < lengths[:, None]).long()


MEMORY = 2**29
"""Bytes of vectors that a ``Recurring`` holds before it begins anew."""


class Recurring(Generic[T]):
    """What a model makes of texts that recur, such as the references of every method: each text once.

    Args:
        work: distinct texts to one value each.
        size: bytes of a value.
    """

    def __init__(self, work: Callable[[list[str]], Sequence[T]], size: Callable[[T], int]) -> None:
        self._work, self._size = work, size
        self._values: dict[str, T] = {}
        self._bytes = 0

    def clear(self) -> None:
        """Drop all values."""
        self._values.clear()
        self._bytes = 0

    def __call__(self, texts: Iterable[str]) -> dict[str, T]:
        """The value of each distinct text."""
        if self._bytes > MEMORY:
            self.clear()
        distinct = list(dict.fromkeys(texts))
        new = [text for text in distinct if text not in self._values]
        if new:
            values = self._work(new)
            self._values |= zip(new, values, strict=True)
            self._bytes += sum(map(self._size, values))
        return {text: self._values[text] for text in distinct}


@contextmanager
def old_tokenizer_methods() -> Iterator[None]:
    """Give tokenizers ``encode_plus`` and ``build_inputs_with_special_tokens``, which transformers 5 dropped.

    Only what the class lacks is added, and it is gone afterwards.
    """
    from transformers import PreTrainedTokenizerBase

    added = {
        name: method
        for name, method in (
            ("encode_plus", _encode_plus),
            ("build_inputs_with_special_tokens", _with_special_tokens),
        )
        if not hasattr(PreTrainedTokenizerBase, name)
    }
    for name, method in added.items():
        setattr(PreTrainedTokenizerBase, name, method)
    try:
        yield
    finally:
        for name in added:
            delattr(PreTrainedTokenizerBase, name)


def _encode_plus(tokenizer: Any, text: Any, text_pair: Any = None, **options: Any) -> Any:
    """Encode a string, a pair of strings, or a list of tokens (which a call would take for a batch)."""
    if isinstance(text, list | tuple):
        ids = tokenizer.convert_tokens_to_ids(list(text))
        return {"input_ids": _with_special_tokens(tokenizer, ids)}
    return tokenizer(text, text_pair, **options)


def _with_special_tokens(tokenizer: Any, ids: list[int], other: list[int] | None = None) -> list[int]:
    """Ids between the special tokens that the tokenizer puts around one text (and around a second)."""
    start, end = _surroundings(tokenizer)
    return [*start, *ids, *end] if other is None else [*start, *ids, *end, *other, *end]


def _surroundings(tokenizer: Any) -> tuple[list[int], list[int]]:
    """Special tokens before and after a text, derived from a text of one token, once per tokenizer."""
    if tokenizer in _framings:
        return _framings[tokenizer]
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    framed = tokenizer("a")["input_ids"]
    start = next(i for i in range(len(framed)) if framed[i : i + len(plain)] == plain)
    _framings[tokenizer] = framed[:start], framed[start + len(plain) :]
    return _framings[tokenizer]


_framings: WeakKeyDictionary[Any, tuple[list[int], list[int]]] = WeakKeyDictionary()
