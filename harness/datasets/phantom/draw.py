"""Chest phantoms: a frontal and a lateral image drawn from a study's MeSH codes, the same ones every time.

An image is a function of (study id, codes, age, sex, acquisition, image size, ``RENDERER_VERSION``). The
patient's own anatomy depends on study id, age and sex alone: with and without a code it differs by that code.

This module imports little; the renderer and its compiler are imported when the first image is drawn.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import astuple, dataclass
from queue import Full, Queue
from threading import Event

import numpy as np
from numpy.typing import NDArray

from harness.core.children import child_environment, interpreters_start
from harness.core.hardware import cores
from harness.datasets.phantom.patient import Patient

_BATCH = 16
_WORTH_WORKERS = 256
_MAX_WORKERS = 8
_PATIENCE = 0.2
"""Seconds until a thread with a full queue looks whether anything still reads it."""


def render(patient: Patient, size: int = 128) -> NDArray[np.uint8]:
    """Frontal and lateral phantom, uint8 (2, size, size); the patient's right is on the image's left."""
    from harness.datasets.phantom.render import render_patient

    return render_patient(patient, size)


def render_many(
    patients: Sequence[Patient], size: int = 128, *, workers: int | None = None
) -> Iterator[NDArray[np.uint8]]:
    """``render`` for each patient, in order, on ``workers`` processes (by default usable cores, at most 8).

    Workers are fresh interpreters rather than forks: the caller's threads and main module do not matter.
    """
    usable = cores()
    count = min(usable, _MAX_WORKERS) if workers is None else workers
    if count <= 1 or len(patients) < _WORTH_WORKERS:
        yield from (render(patient, size) for patient in patients)
        return
    batches = [patients[start : start + _BATCH] for start in range(0, len(patients), _BATCH)]
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(count))
        queues: list[Queue[bytes]] = [Queue(maxsize=4) for _ in range(count)]
        abandoned = Event()
        for index, queue in enumerate(queues):
            process = stack.enter_context(_worker())
            stack.callback(process.kill)  # an abandoned iterator leaves no process behind
            threads.submit(_feed, process, batches[index::count], size, _Outbox(queue, abandoned))
        stack.callback(abandoned.set)  # runs first of all: no thread waits for a reader that is gone
        for number, batch in enumerate(batches):
            data = queues[number % count].get()
            shape = (len(batch), 2, size, size)
            if len(data) == np.prod(shape):
                yield from np.frombuffer(data, dtype=np.uint8).reshape(shape)
            else:  # the worker could not start or died: draw its batch here
                yield from (render(patient, size) for patient in batch)


def _worker() -> subprocess.Popen[bytes]:
    with interpreters_start():
        return subprocess.Popen(
            [sys.executable, "-m", "harness.datasets.phantom.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(),
        )


@dataclass(frozen=True, slots=True)
class _Outbox:
    """A bounded queue that a thread stops filling when the reader has gone: on a signal or a full disk."""

    queue: Queue[bytes]
    abandoned: Event

    def put(self, data: bytes) -> bool:
        """Wait for room; False where there will be none."""
        while not self.abandoned.is_set():
            with suppress(Full):
                self.queue.put(data, timeout=_PATIENCE)
                return True
        return False


def _feed(
    process: subprocess.Popen[bytes], batches: Sequence[Sequence[Patient]], size: int, outbox: _Outbox
) -> None:
    """Send one worker all its patients, then pass its images on batch by batch."""
    assert process.stdin is not None
    assert process.stdout is not None
    job = {"size": size, "patients": [astuple(patient) for batch in batches for patient in batch]}
    try:
        process.stdin.write(json.dumps(job).encode())
        process.stdin.close()
    except OSError:
        pass  # a dead worker also reads short below
    for batch in batches:
        if not outbox.put(process.stdout.read(len(batch) * 2 * size * size)):
            return
