"""Results of models on single texts, kept on disk: a text is annotated once for all methods and runs.

One file per signature holds digests of texts and the model's results for them, below a line with their
checksum: a file that is not what was written is computed again. Reports under a data use
agreement must not leave their folder, so neither texts nor parts of them may stand in a value.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness.core.errors import CorruptFileError
from harness.core.files import (
    cache_root,
    clear_folder_place,
    open_own,
    private_folder,
    set_aside,
    write_atomic,
)
from harness.core.locks import file_lock

CHUNK = 512
"""Texts after which results are saved: what a killed run loses at most."""


def annotated(
    signature: str,
    texts: Sequence[str],
    work: Callable[[list[str]], Sequence[Any]],
    chunk_size: int = CHUNK,
) -> list[Any]:
    """The result of ``work`` for each text, in the same order, from the cache where it has one.

    Args:
        signature: identity of ``work``; it changes whenever a result could.
        texts: may repeat.
        work: distinct texts to one JSON value each; no value holds text of a report.
        chunk_size: texts after which results are saved.

    Raises:
        ValueError: ``work`` returns another number of values than it got texts.
        DiskError: the cache cannot be written.
    """
    path = path_of(signature)
    values = _read(path, signature)
    place = {text: digest(text) for text in dict.fromkeys(texts)}
    absent = [text for text, key in place.items() if key not in values]
    for start in range(0, len(absent), chunk_size):
        chunk = absent[start : start + chunk_size]
        new = dict(zip((place[text] for text in chunk), work(chunk), strict=True))
        values |= new
        _add(path, signature, new)
    return [values[place[text]] for text in texts]


def are_annotated(signature: str, texts: Sequence[str]) -> bool:
    """Whether ``annotated`` has a result for each text without ``work``."""
    values = _read(path_of(signature), signature)
    return all(digest(text) in values for text in texts)


def annotated_pairs(
    signature: str,
    hypotheses: Sequence[str],
    references: Sequence[str],
    work: Callable[[list[tuple[str, str]]], Sequence[Any]],
) -> list[Any]:
    """``annotated`` for pairs of texts: the result for each study's prediction and reference, in their order.

    Args:
        signature: as ``annotated`` takes it.
        hypotheses, references: one text per study.
        work: distinct pairs to one JSON value each.
    """
    pairs = list(zip(hypotheses, references, strict=True))
    keys = [pair(*both) for both in pairs]
    by_key = dict(zip(keys, pairs, strict=True))
    return annotated(signature, keys, lambda absent: work([by_key[key] for key in absent]))


def path_of(signature: str) -> Path:
    """The cache file of a signature."""
    return cache_root() / "annotations" / f"{digest(signature)[:32]}.jsonl"


def digest(text: str) -> str:
    """SHA-256 of a text as hex; a lone surrogate is no error."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def pair(first: str, second: str) -> str:
    """One text for two: their order matters, and no other pair gives the same text."""
    return f"{len(first)}|{first}{second}"


def _read(path: Path, signature: str) -> dict[str, Any]:
    """Values by digest; a damaged file counts as absent, for all of it can be computed again."""
    clear_folder_place(path.parent)
    try:
        with open_own(path) as stream:
            head, _, body = stream.read().partition(b"\n")
    except FileNotFoundError:
        return {}
    except CorruptFileError as error:
        set_aside(path, error.message)
        return {}
    if head != _head(signature, body):
        set_aside(path, "checksum mismatch")
        return {}
    values: dict[str, Any] = json.loads(body)
    return values


def _head(signature: str, body: bytes) -> bytes:
    """The first line of a file: whose values they are, and a checksum over both."""
    checksum = hashlib.sha256(signature.encode("utf-8", "surrogatepass") + b"\0" + body)
    return json.dumps({"signature": signature, "sha256": checksum.hexdigest()}).encode()


def _add(path: Path, signature: str, values: dict[str, Any]) -> None:
    private_folder(path.parent)
    with file_lock(path.with_name(f"{path.name}.lock")):
        every = _read(path, signature) | values
        body = (json.dumps(every, ensure_ascii=False, separators=(",", ":")) + "\n").encode()
        write_atomic(path, lambda stream: stream.write(_head(signature, body) + b"\n" + body))
