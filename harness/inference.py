"""Batched prediction of one modality state, resumable by study."""

from __future__ import annotations

import base64
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from PIL import Image

from harness.batching import collate
from harness.errors import CorruptFileError, HarnessError
from harness.files import clear_disk_errors, is_sealed, seal, unseal, verify, write_json
from harness.method import Method
from harness.synthesis import conditioned, generated
from harness.types import DatasetInfo, Inputs, Prediction, Study


def predict_state(
    fitted: Callable[[], Method[Any]],
    studies: Sequence[Study],
    info: DatasetInfo,
    path: Path,
    *,
    dropped: str | None,
    run_seed: int,
    batch_size: int = 32,
    donors: Mapping[str, Study] | None = None,
    progress: Callable[[float, str], None] = lambda fraction, status: None,
) -> dict[str, Prediction]:
    """Predict every study in one modality state, or read what an earlier run predicted.

    Each batch is appended to ``path`` as soon as it is done, so a killed run loses one batch at most.

    Args:
        fitted: gives the fitted method on its device; called only if a study is left to predict.
        studies: test studies.
        info: their dataset.
        path: JSONL file of this state; sealed when complete.
        dropped: modality that every study loses, or None.
        run_seed: goes into the studies' seeds.
        batch_size: studies per call of ``predict``; halved for good when the device runs out of memory.
        donors: whose images are shown instead (shuffled-image control).
        progress: called with (fraction, status).

    Returns:
        Predictions by study id.
    """
    job = _Job(path, encode, decode, lambda method, inputs: method.predict(inputs))
    return _complete(job, fitted, studies, info, dropped, run_seed, batch_size, donors, progress)


def sample_state(
    fitted: Callable[[], Method[Any]],
    studies: Sequence[Study],
    info: DatasetInfo,
    path: Path,
    *,
    draws: int,
    dropped: str | None,
    run_seed: int,
    batch_size: int = 32,
    donors: Mapping[str, Study] | None = None,
    progress: Callable[[float, str], None] = lambda fraction, status: None,
) -> dict[str, list[str]]:
    """``draws`` random reports of every study in one modality state; otherwise like ``predict_state``.

    Returns:
        Reports by study id.
    """
    job = _Job(path, _encode_reports, _decode_reports, lambda method, inputs: method.sample(inputs, draws))
    return _complete(job, fitted, studies, info, dropped, run_seed, batch_size, donors, progress)


def synthesize_state(
    fitted: Callable[[], Method[Any]],
    studies: Sequence[Study],
    info: DatasetInfo,
    path: Path,
    *,
    targets: Sequence[str],
    reports: Mapping[str, str | None],
    dropped: str | None,
    run_seed: int,
    batch_size: int = 32,
    donors: Mapping[str, Study] | None = None,
    progress: Callable[[float, str], None] = lambda fraction, status: None,
) -> dict[str, Prediction]:
    """Generate ``targets`` for every study from all else that it has in one state; like ``predict_state``.

    Args:
        targets: image modalities or ``report``; blanked in what the method gets.
        reports: study id to the report that is a condition.
    """

    def ask(method: Method[Any], inputs: Inputs) -> Sequence[Prediction]:
        given = conditioned(inputs, targets, reports, run_seed, dropped or "full")
        return generated(method, given, targets)

    job = _Job(path, encode, decode, ask)
    return _complete(job, fitted, studies, info, dropped, run_seed, batch_size, donors, progress)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    """What is asked of a method about each study, and how an answer is written to a file of lines."""

    path: Path
    encode: Callable[[str, T], dict[str, Any]]
    decode: Callable[[Mapping[str, Any]], tuple[str, T]]
    ask: Callable[[Method[Any], Inputs], Sequence[T]]


def _complete(
    job: _Job[T],
    fitted: Callable[[], Method[Any]],
    studies: Sequence[Study],
    info: DatasetInfo,
    dropped: str | None,
    run_seed: int,
    batch_size: int,
    donors: Mapping[str, Study] | None,
    progress: Callable[[float, str], None],
) -> dict[str, T]:
    """Ask about the studies that the job's file lacks, appending to it batch by batch; seal it."""
    path = job.path
    if is_sealed(path):
        verify(path)
        done = _read(job)
        if set(done) >= {study.id for study in studies}:
            return done
        unseal(path)  # whole for fewer studies, and about to grow
    done = _read(job)
    # Similar context lengths together: less padding. The order cannot change a prediction.
    pending = sorted((s for s in studies if s.id not in done), key=lambda s: (len(s.context or ""), s.id))
    method = fitted() if pending else None
    with clear_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(path, "a", encoding="utf-8") as stream:
            seconds, halved = 0.0, {}
            for batch, answers, took, size in _batches(
                job, method, pending, info, dropped, run_seed, batch_size, donors
            ):
                seconds += took
                halved = {"batch_size": size} if size < batch_size else {}
                for study, answer in zip(batch, answers, strict=True):
                    stream.write(json.dumps(job.encode(study.id, answer), ensure_ascii=False) + "\n")
                    done[study.id] = answer
                stream.flush()
                os.fsync(stream.fileno())
                said = f", out of memory: {size} at a time" if halved else ""
                progress(len(done) / len(studies), f"{len(done)}/{len(studies)} studies{said}")
    seal(path)
    if pending:
        write_json(timing_path(path), {"seconds": seconds, "studies": len(pending), **halved})
    return done


def timing_path(path: Path) -> Path:
    """Where the time that answers took is kept: seconds in the method, and the studies of that session.

    ``batch_size`` is there where memory did not suffice for the usual one.
    """
    return path.with_name(path.stem + ".seconds.json")


def _batches(
    job: _Job[T],
    method: Method[Any] | None,
    studies: list[Study],
    info: DatasetInfo,
    dropped: str | None,
    run_seed: int,
    batch_size: int,
    donors: Mapping[str, Study] | None,
) -> Iterator[tuple[list[Study], Sequence[T], float, int]]:
    """Batches of studies, the answers about them, the seconds that they took, the batch size that fits."""
    start = 0
    if method is None:
        return
    while start < len(studies):
        batch = studies[start : start + batch_size]
        inputs = collate(
            batch, info, reads=method.card.reads, dropped=dropped, run_seed=run_seed, donors=donors
        )
        started = time.perf_counter()
        try:
            answers = job.ask(method, inputs)
        except torch.OutOfMemoryError:
            if batch_size == 1:
                raise
            batch_size = max(1, batch_size // 2)
            torch.cuda.empty_cache()
            continue
        if len(answers) != len(batch):
            raise HarnessError(
                f"{method.card.name}: {len(answers)} predictions for a batch of {len(batch)} studies",
                "predict must return one prediction per study, in order",
            )
        yield batch, answers, time.perf_counter() - started, batch_size
        start += len(batch)


def encode(study_id: str, prediction: Prediction) -> dict[str, Any]:
    """One JSONL line: exact floats, images as PNG."""
    line: dict[str, Any] = {"id": study_id}
    if prediction.report is not None:
        line["report"] = prediction.report
    if prediction.probabilities is not None:
        line["probabilities"] = [float(p) for p in prediction.probabilities]
    if prediction.images is not None:
        line["images"] = {view: _to_png(pixels) for view, pixels in prediction.images.items()}
    return line


def decode(line: Mapping[str, Any]) -> tuple[str, Prediction]:
    """The inverse of ``encode``."""
    probabilities = line.get("probabilities")
    images = line.get("images")
    return str(line["id"]), Prediction(
        report=line.get("report"),
        probabilities=None if probabilities is None else np.asarray(probabilities, dtype=np.float64),
        images=None if images is None else {view: _from_png(text) for view, text in images.items()},
    )


def _encode_reports(study_id: str, reports: list[str]) -> dict[str, Any]:
    return {"id": study_id, "reports": reports}


def _decode_reports(line: Mapping[str, Any]) -> tuple[str, list[str]]:
    return str(line["id"]), list(line["reports"])


def _read(job: _Job[T]) -> dict[str, T]:
    """Complete lines of a predictions file; a last line cut short by a kill is removed from the file."""
    path = job.path
    if not path.exists():
        return {}
    content = path.read_bytes()
    complete = content[: content.rfind(b"\n") + 1]
    if len(complete) < len(content):
        with open(path, "r+b") as stream:
            stream.truncate(len(complete))
    done: dict[str, T] = {}
    for number, line in enumerate(complete.splitlines(), 1):
        try:
            study_id, answer = job.decode(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"{path}, line {number}: not a prediction: {error}", "delete the file and run again"
            ) from error
        done[study_id] = answer
    return done


def _to_png(pixels: np.ndarray[Any, Any]) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(stream, format="PNG")
    return base64.b64encode(stream.getvalue()).decode()


def _from_png(text: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))), dtype=np.uint8)
    return pixels if pixels.ndim == 3 else pixels[..., None]
