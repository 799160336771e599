"""Filling an image store: images that are missing are decoded by several processes at once.

Processes are fresh interpreters that read jobs from standard input, so neither threads nor the main module of
the caller matter. Each appends to the store itself; its images stay when the rest is interrupted.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, suppress
from queue import SimpleQueue

from harness.core.children import child_environment, interpreters_start
from harness.core.errors import HarnessError
from harness.core.hardware import cores
from harness.datasets.images.pixels import ImageFile, decoded
from harness.datasets.images.store import ImageStore

_CHUNK = 32
"""Images per append: a killed process loses at most so many."""
_WORTH_WORKERS = 64
_MAX_WORKERS = 32


def fill(store: ImageStore, sources: Sequence[ImageFile], workers: int | None = None) -> Iterator[int]:
    """Decode what ``sources`` names into the store, on ``workers`` processes (by default usable cores).

    Yields:
        How many images were added, a step at a time.

    Raises:
        HarnessError: a file that is no readable image, the first to be met; what is done stays.
        DiskError: nothing can be written.
    """
    usable = cores()
    count = min(usable, _MAX_WORKERS) if workers is None else workers
    chunks = [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]
    if count <= 1 or len(sources) < _WORTH_WORKERS:
        yield from (decode_into(store, chunk) for chunk in chunks)
        return
    idle: SimpleQueue[_Worker] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(count):
            worker = _Worker(store)
            stack.callback(worker.stop)
            idle.put(worker)
        threads = stack.enter_context(ThreadPoolExecutor(count))
        futures = [threads.submit(_next_idle, idle, chunk) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def decode_into(store: ImageStore, sources: Sequence[ImageFile]) -> int:
    """Decode and append images; those before an unreadable one are appended before its error is raised."""
    size, _, channels = store.shape
    done = {}
    try:
        for source in sources:
            done[source.digest] = decoded(source, size, channels)
    finally:
        store.append(done)
    return len(done)


def serve() -> None:
    """The work of a process: a store, then chunks, on standard input; a count or an error for each."""
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not be taken for a reply.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with suppress(EOFError, BrokenPipeError):
        store = pickle.load(requests)
        while True:
            sources = pickle.load(requests)
            try:
                reply: int | HarnessError = decode_into(store, sources)
            except HarnessError as error:
                reply = error
            except Exception:  # the caller repeats the chunk and raises the error there
                return
            pickle.dump(reply, replies)
            replies.flush()


class _Worker:
    """A process that decodes chunks; if it dies, this process decodes the rest."""

    def __init__(self, store: ImageStore) -> None:
        self._store = ImageStore(store.folder, store.shape[0], store.shape[2])  # threads share no store
        with interpreters_start():
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, "-m", "harness.datasets.images.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=child_environment(),
            )
        self._send(pickle.dumps(self._store))

    def decode(self, sources: Sequence[ImageFile]) -> int:
        """How many images of a chunk were added."""
        try:
            job = pickle.dumps(list(sources))
        except (pickle.PicklingError, AttributeError, TypeError):  # a decoder that only this process knows
            return decode_into(self._store, sources)
        reply = self._asked(job)
        if isinstance(reply, HarnessError):
            raise reply
        return decode_into(self._store, sources) if reply is None else reply

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _asked(self, job: bytes) -> int | HarnessError | None:
        if self._process is None:
            return None
        self._send(job)
        try:
            assert self._process.stdout is not None
            reply: int | HarnessError = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            self.stop()
            return None
        return reply

    def _send(self, data: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with suppress(OSError):  # of a dead process nothing will be read either
            self._process.stdin.write(data)
            self._process.stdin.flush()


def _next_idle(idle: SimpleQueue[_Worker], chunk: Sequence[ImageFile]) -> int:
    worker = idle.get()
    try:
        return worker.decode(chunk)
    finally:
        idle.put(worker)
