"""Batched prediction of one modality state, resumable by study.

A ``Part`` of the studies may be predicted apart, by another process, into a file of its own. Whoever then
asks about all of them takes over what the parts' files have, and predicts what they lack.
"""

from __future__ import annotations

import glob
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import torch
from filelock import FileLock

from harness.core.errors import CorruptFileError, HarnessError
from harness.core.files import clear_disk_errors, is_sealed, read_json, seal, unseal, verify, write_json
from harness.core.types import DatasetInfo, Inputs, Prediction, Study
from harness.evaluation.synthesis import conditioned, generated
from harness.method.batching import collate
from harness.method.contract import Method
from harness.store.predictions import Part, _decode_reports, _encode_reports, decode, encode, timing_path


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
    part: Part | None = None,
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
        part: only these of the studies, into a file of their own; nobody has to hold the cell's lock.
        progress: called with (fraction, status).

    Returns:
        Predictions by study id.
    """
    job = _Job(path, encode, decode, lambda method, inputs: method.predict(inputs))
    asking = _Asking(fitted, info, dropped, run_seed, batch_size, donors, progress)
    return _complete(job, studies, asking) if part is None else _complete_part(job, studies, asking, part)


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
    part: Part | None = None,
    progress: Callable[[float, str], None] = lambda fraction, status: None,
) -> dict[str, list[str]]:
    """``draws`` random reports of every study in one modality state; otherwise like ``predict_state``.

    Returns:
        Reports by study id.
    """
    job = _Job(path, _encode_reports, _decode_reports, lambda method, inputs: method.sample(inputs, draws))
    asking = _Asking(fitted, info, dropped, run_seed, batch_size, donors, progress)
    return _complete(job, studies, asking) if part is None else _complete_part(job, studies, asking, part)


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
    part: Part | None = None,
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
    asking = _Asking(fitted, info, dropped, run_seed, batch_size, donors, progress)
    return _complete(job, studies, asking) if part is None else _complete_part(job, studies, asking, part)


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    """What is asked of a method about each study, and how an answer is written to a file of lines."""

    path: Path
    encode: Callable[[str, T], dict[str, Any]]
    decode: Callable[[Mapping[str, Any]], tuple[str, T]]
    ask: Callable[[Method[Any], Inputs], Sequence[T]]


@dataclass(frozen=True, slots=True)
class _Asking:
    """How studies are asked about: the arguments of ``predict_state``."""

    fitted: Callable[[], Method[Any]]
    info: DatasetInfo
    dropped: str | None
    run_seed: int
    batch_size: int
    donors: Mapping[str, Study] | None
    progress: Callable[[float, str], None]


def _complete(job: _Job[T], studies: Sequence[Study], asking: _Asking) -> dict[str, T]:
    """Ask about the studies that neither the job's file nor its parts' have; seal the job's file."""
    path = job.path
    if is_sealed(path):
        verify(path)
        done = _read(job)
        if set(done) >= {study.id for study in studies}:
            _clear_away(path)
            return done
        unseal(path)  # whole for fewer studies, and about to grow
    done = _read(job)
    with ExitStack() as locks:
        found, taken = _of_parts(job, locks)
        # Similar context lengths together: less padding. The order cannot change a prediction.
        left = sorted((s for s in studies if s.id not in done), key=lambda s: (len(s.context or ""), s.id))
        with clear_disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(path, "a", encoding="utf-8") as stream:
                known = {study.id: found[study.id] for study in left if study.id in found}
                _append(stream, job, known)
                done |= known
                pending = [study for study in left if study.id not in known]
                timing = _answer(job, pending, asking, stream, done, len(studies))
        seal(path)
    taken["seconds"] += timing.pop("seconds")
    taken["studies"] += len(pending)
    if taken["studies"]:
        write_json(timing_path(path), taken | timing)
    _clear_away(path)
    return done


def _complete_part(job: _Job[T], studies: Sequence[Study], asking: _Asking, part: Part) -> dict[str, T]:
    """Ask about a part of the studies, as far as no file has them."""
    own = replace(job, path=part.path(job.path))
    wanted = studies[part.number :: part.count]
    with clear_disk_errors(own.path):
        own.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(own.path.parent / ".lock"):
            done = _lines(job, _whole_lines(job.path)) | _read(own)
            pending = [study for study in wanted if study.id not in done]
            if pending:
                with open(own.path, "a", encoding="utf-8") as stream:
                    timing = _answer(own, pending, asking, stream, done, len(wanted))
                # A run that has just got the cell's lock clears such a file's beginnings away.
                with suppress(FileNotFoundError):
                    write_json(timing_path(own.path), {**timing, "studies": len(pending)})
    return {study.id: done[study.id] for study in wanted}


def _answer(
    job: _Job[T], pending: list[Study], asking: _Asking, stream: IO[str], done: dict[str, T], total: int
) -> dict[str, float]:
    """Ask about ``pending``, each batch into ``stream`` and ``done`` at once; what it took."""
    method = asking.fitted() if pending else None
    timing: dict[str, float] = {"seconds": 0.0}
    for batch, answers, took, size in _batches(job, method, pending, asking):
        timing["seconds"] += took
        halved = size < asking.batch_size
        timing |= {"batch_size": size} if halved else {}
        found = {study.id: answer for study, answer in zip(batch, answers, strict=True)}
        _append(stream, job, found)
        done |= found
        said = f", out of memory: {size} at a time" if halved else ""
        asking.progress(len(done) / total, f"{len(done)}/{total} studies{said}")
    return timing


def _append(stream: IO[str], job: _Job[T], answers: Mapping[str, T]) -> None:
    for study_id, answer in answers.items():
        stream.write(json.dumps(job.encode(study_id, answer), ensure_ascii=False) + "\n")
    stream.flush()
    os.fsync(stream.fileno())


def _parts(path: Path) -> list[Path]:
    """Files of parts of the studies of a state's file."""
    return sorted(path.parent.glob(f"part-*/{glob.escape(path.name)}"))


def _of_parts(job: _Job[T], locks: ExitStack) -> tuple[dict[str, T], dict[str, float]]:
    """What parts' files have, once nobody works on them, and what it took; ``locks`` keeps them so."""
    found: dict[str, T] = {}
    taken: dict[str, float] = {"seconds": 0.0, "studies": 0}
    for own in _parts(job.path):
        locks.enter_context(FileLock(own.parent / ".lock"))
        found |= _lines(replace(job, path=own), _whole_lines(own))
        if timing_path(own).exists():
            timing = read_json(timing_path(own))
            taken["seconds"] += timing["seconds"]
            taken["studies"] += timing["studies"]
            sizes = [each["batch_size"] for each in (taken, timing) if "batch_size" in each]
            taken |= {"batch_size": min(sizes)} if sizes else {}
    return found, taken


def _clear_away(path: Path) -> None:
    """Remove the parts' files of a sealed one."""
    for own in _parts(path):
        with FileLock(own.parent / ".lock"):
            own.unlink(missing_ok=True)
            timing_path(own).unlink(missing_ok=True)


def _batches(
    job: _Job[T],
    method: Method[Any] | None,
    studies: list[Study],
    asking: _Asking,
) -> Iterator[tuple[list[Study], Sequence[T], float, int]]:
    """Batches of studies, the answers about them, the seconds that they took, the batch size that fits."""
    start, batch_size = 0, asking.batch_size
    if method is None:
        return
    while start < len(studies):
        batch = studies[start : start + batch_size]
        inputs = collate(
            batch,
            asking.info,
            reads=method.card.reads,
            dropped=asking.dropped,
            run_seed=asking.run_seed,
            donors=asking.donors,
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


def _read(job: _Job[T]) -> dict[str, T]:
    """Complete lines of a predictions file; a last line cut short by a kill is removed from the file."""
    content = _whole_lines(job.path)
    if job.path.exists() and job.path.stat().st_size > len(content):
        with open(job.path, "r+b") as stream:
            stream.truncate(len(content))
    return _lines(job, content)


def _whole_lines(path: Path) -> bytes:
    """Complete lines of a file to which somebody may be appending; nothing where there is none."""
    content = path.read_bytes() if path.exists() else b""
    return content[: content.rfind(b"\n") + 1]


def _lines(job: _Job[T], content: bytes) -> dict[str, T]:
    done: dict[str, T] = {}
    for number, line in enumerate(content.splitlines(), 1):
        try:
            study_id, answer = job.decode(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptFileError(
                f"{job.path}, line {number}: not a prediction: {error}", "delete the file and run again"
            ) from error
        done[study_id] = answer
    return done
