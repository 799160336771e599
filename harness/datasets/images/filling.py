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
from harness.datasets.images.decode import UnreadableImageError
from harness.datasets.images.pixels import ImageFile, decoded
from harness.datasets.images.store import ImageStore

_CHUNK = 32
"""Images per append: a killed process loses at most so many."""
_WORTH_WORKERS = 64
_MAX_WORKERS = 32

Unreadable = dict[str, HarnessError]
"""Digest of an image whose content cannot be read -> its error."""


def fill(
    store: ImageStore,
    sources: Sequence[ImageFile],
    workers: int | None = None,
    unreadable: Unreadable | None = None,
) -> Iterator[int]:
    """Decode what ``sources`` names into the store, on ``workers`` processes (by default usable cores).

    Args:
        unreadable: takes the errors of files whose content is no readable image, where it is given.

    Yields:
        How many images were added, a step at a time.

    Raises:
        HarnessError: a file that cannot be read, the first to be met; what is done stays.
        DiskError: nothing can be written.
    """
    usable = cores()
    count = min(usable, _MAX_WORKERS) if workers is None else workers
    chunks = [sources[start : start + _CHUNK] for start in range(0, len(sources), _CHUNK)]
    if count <= 1 or len(sources) < _WORTH_WORKERS:
        yield from (decode_into(store, chunk, unreadable) for chunk in chunks)
        return
    idle: SimpleQueue[_Worker] = SimpleQueue()
    with ExitStack() as stack:
        for _ in range(count):
            worker = _Worker(store)
            stack.callback(worker.stop)
            idle.put(worker)
        threads = stack.enter_context(ThreadPoolExecutor(count))
        futures = [threads.submit(_next_idle, idle, chunk, unreadable) for chunk in chunks]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


def decode_into(store: ImageStore, sources: Sequence[ImageFile], unreadable: Unreadable | None = None) -> int:
    """Decode and append images; those before an unreadable one are appended before its error is raised.

    Args:
        unreadable: as ``fill`` takes it.
    """
    size, _, channels = store.shape
    done = {}
    try:
        for source in sources:
            try:
                done[source.digest] = decoded(source, size, channels)
            except UnreadableImageError as error:
                if unreadable is None:
                    raise
                unreadable[source.digest] = error
    finally:
        store.append(done)
    return len(done)


def serve() -> None:
    """The work of a process: a store, then chunks, on standard input; a count or an error for each.

    Beside a count stand the errors of images that the caller goes on without.
    """
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # What a library prints must not be taken for a reply.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    with suppress(EOFError, BrokenPipeError):
        store = pickle.load(requests)
        while True:
            sources, unreadable = pickle.load(requests)
            try:
                reply: _Reply = decode_into(store, sources, unreadable), unreadable
            except HarnessError as error:
                reply = error
            except Exception:  # the caller repeats the chunk and raises the error there
                return
            pickle.dump(reply, replies)
            replies.flush()


_Reply = tuple[int, Unreadable | None] | HarnessError


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

    def decode(self, sources: Sequence[ImageFile], unreadable: Unreadable | None) -> int:
        """How many images of a chunk were added."""
        try:
            job = pickle.dumps((list(sources), None if unreadable is None else {}))
        except (pickle.PicklingError, AttributeError, TypeError):  # a decoder that only this process knows
            return decode_into(self._store, sources, unreadable)
        reply = self._asked(job)
        if isinstance(reply, HarnessError):
            raise reply
        if reply is None:
            return decode_into(self._store, sources, unreadable)
        count, errors = reply
        if unreadable is not None:
            unreadable.update(errors or {})
        return count

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _asked(self, job: bytes) -> _Reply | None:
        if self._process is None:
            return None
        self._send(job)
        try:
            assert self._process.stdout is not None
            reply: _Reply = pickle.load(self._process.stdout)
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


def _next_idle(idle: SimpleQueue[_Worker], chunk: Sequence[ImageFile], unreadable: Unreadable | None) -> int:
    worker = idle.get()
    try:
        return worker.decode(chunk, unreadable)
    finally:
        idle.put(worker)
