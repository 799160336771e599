"""Jobs of a run on a Ray cluster: one task per job, on a node with free resources.

All nodes share the store's path. A task opens the run's data on its node and works like a process of
``processes``. When its worker or node is lost, Ray starts it again elsewhere. It then waits for the cell's
lock and continues from the files in the store.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from harness.core import registry
from harness.core.config import ExecutionConfig, RunSettings
from harness.core.errors import HarnessError
from harness.core.packages import require_packages
from harness.core.progress import Reporter
from harness.distributed.processes import Job, Messenger, Opened, Opener, Relay, Results
from harness.distributed.threads import use_threads

RETRIES = 3
"""How often Ray starts a task again whose worker or node was lost."""
_PAUSE = 0.2
"""Seconds between two readings of the tasks' messages."""
_LOOK = 5.0
"""Seconds between two readings of the nodes' resources."""
_KNOCK = 10.0
"""Seconds that a cluster has to answer."""

ResultsByKey = dict[Any, Any]
Lost = Callable[[Job, HarnessError, ResultsByKey], Results]
"""(Job, why it is lost, results so far) to the results of a job that Ray gave up."""


@dataclass(frozen=True, slots=True)
class Need:
    """Resources of its node that a job needs.

    Attributes:
        gpus: GPUs, if the run uses any.
        memory_gib: memory that Ray reserves, GiB; 0 reserves none.
        cpus: processors.
    """

    gpus: int
    memory_gib: float
    cpus: int = 1

    def resources(self, gpus: bool) -> dict[str, float]:
        """Ray's name of each resource -> amount, memory in bytes."""
        amounts = {"CPU": self.cpus, "GPU": self.gpus if gpus else 0, "memory": self.memory_gib * 2**30}
        return {name: amount for name, amount in amounts.items() if amount}


def _none_after(job: Job) -> Sequence[Job]:
    return ()


@dataclass(frozen=True, slots=True)
class JobRules:
    """How a run treats its jobs.

    Attributes:
        need: resources of a job.
        lost: results of a job that Ray gave up.
        after: jobs that can begin when a job has succeeded.
    """

    need: Callable[[Job], Need]
    lost: Lost
    after: Callable[[Job], Sequence[Job]] = _none_after


def check(execution: ExecutionConfig) -> None:
    """Check the flags before any data is read.

    Raises:
        HarnessError: a device by number, or an address at which no cluster answers.
        UnavailableError: Ray is not installed.
    """
    if execution.device.startswith("cuda:"):
        raise HarnessError(f"--device {execution.device}: Ray chooses among the GPUs", "use --device cuda")
    require_packages("--executor ray", "ray", "ray")
    if execution.address not in (None, "auto"):
        _knock(execution.address)


def _knock(address: str) -> None:
    """Check that something answers at HOST:PORT; Ray itself would try for minutes."""
    if "://" in address:
        raise HarnessError(
            f"--address {address}: the run itself must be on a node of the cluster",
            "start it there with --address auto",
        )
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise HarnessError(f"--address {address}: expected HOST:PORT or auto")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
    except (OSError, OverflowError) as error:
        raise HarnessError(
            f"--address {address}: nothing answers: {error}", "start a cluster there with ray start --head"
        ) from error


@contextmanager
def _connected(address: str | None) -> Iterator[None]:
    """A cluster of this machine, ended with the run; or the one at ``address``, which is left running."""
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(
            address or "local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            job_config=_without_working_folder(),
        )
    except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise HarnessError(
            f"--address {address or 'local'}: no Ray cluster: {reason}",
            "is it the same Ray? where it asks for a token, set RAY_AUTH_MODE=token",
        ) from error
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)  # Ray has installed another handler
        yield
    finally:
        ray.shutdown()


def _without_working_folder() -> Any:
    """Settings without which Ray's workers would import modules of this process's working folder."""
    from ray.job_config import JobConfig

    # There is no public one: Ray leaves the folder out for its own remote client alone.
    return JobConfig(_client_job=True)


@contextmanager
def mapped(execution: ExecutionConfig) -> Iterator[Callable[..., Iterable[Any]]]:
    """A ``map`` whose calls are tasks of a cluster; all of them begin at once, results come in order.

    Raises:
        HarnessError: no cluster answers; or, from the ``map``, a task that Ray gave up.
    """
    with _connected(execution.address):
        import ray

        def run(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            task: Any = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
            tables = registry.snapshot()
            waiting = [task.remote(tables, function, item) for item in items]
            return map(_result, waiting)

        yield run


def _call(tables: dict[str, dict[str, str]], function: Callable[[Any], Any], item: Any) -> Any:
    registry.restore(tables)
    return function(item)


def _result(task: Any) -> Any:
    import ray

    try:
        return ray.get(task)
    except ray.exceptions.RayError as error:
        name = type(getattr(error, "cause", None) or error).__name__
        raise HarnessError(f"a Ray task was lost for good: {name}", "Ray's logs name the node") from error


class Tasks:
    """The jobs of one run, and their results.

    Args:
        execution: where the run computes; at most ``workers`` of its jobs run at a time, by default as many
            as the nodes have resources for.
        settings: of the run, as each task gets them.
        opener: called in each worker before its first job.
        rules: resources, successors and replacements of jobs.
        reporter: gets the messages of the tasks.
    """

    def __init__(
        self,
        execution: ExecutionConfig,
        settings: RunSettings,
        opener: Opener,
        rules: JobRules,
        reporter: Reporter,
    ) -> None:
        self.execution, self.settings, self.opener, self.rules = execution, settings, opener, rules
        self.relay = Relay(reporter)
        self.waiting: list[Job] = []
        self.shortage = _Shortage(reporter)
        self.running: dict[Any, Job] = {}
        self.results: ResultsByKey = {}

    def work(self, jobs: Sequence[Job]) -> ResultsByKey:
        """Start jobs in their order; returns the results of all by key.

        Raises:
            HarnessError: no cluster answers, no GPU for ``--device cuda``, or a full disk.
        """
        with _connected(self.execution.address):
            try:
                self._work(jobs)
            except SystemError as error:
                # An exception of a signal handler inside Ray's compiled code is the cause of this error.
                if error.__cause__ is None or isinstance(error.__cause__, Exception):
                    raise
                raise error.__cause__ from None
            finally:
                self._cancel()
        return self.results

    def _work(self, jobs: Sequence[Job]) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        gpus = _wants_gpus(self.execution, ray.cluster_resources().get("GPU", 0.0))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(_Mailbox)
        mailbox = actor.options(num_cpus=0, scheduling_strategy=here).remote()
        self.waiting = list(jobs)
        while self.waiting or self.running:
            while self.waiting and len(self.running) < (self.execution.workers or math.inf):
                job = self.waiting.pop(0)
                self.running[self._start(job, gpus, mailbox)] = job
            done, _ = ray.wait(list(self.running), timeout=_PAUSE)
            for message in ray.get(mailbox.empty.remote()):
                self.relay.play(*message)
            self.shortage.report(
                [(job[0], self.rules.need(job).resources(gpus)) for job in self.running.values()]
            )
            for task in done:
                self._collect(task)

    def _cancel(self) -> None:
        import ray

        for task in self.running:
            ray.cancel(task, force=True)

    def _start(self, job: Job, gpus: bool, mailbox: Any) -> Any:
        import ray

        need = self.rules.need(job)
        task = ray.remote(_task).options(
            name=f"{job[0]}, seed {job[1]}",
            num_cpus=need.cpus,
            num_gpus=need.gpus if gpus else 0,
            memory=int(need.memory_gib * 2**30) or None,
            max_retries=RETRIES,
            retry_exceptions=False,
        )
        return task.remote(self.settings, registry.snapshot(), self.opener, job, mailbox)

    def _collect(self, task: Any) -> None:
        import ray

        job = self.running.pop(task)
        try:
            results = ray.get(task)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            reason = HarnessError(
                f"its Ray task was lost for good: {type(cause).__name__}",
                "run again to go on; Ray's logs name the node",
            )
            results = self.rules.lost(job, reason, self.results)
        else:
            self.waiting += self.rules.after(job) if isinstance(results, list) else ()
        if isinstance(results, HarnessError):
            raise results
        self.results |= dict(results)


class _Shortage:
    """Reports the resources that a task waits for and no node has: the run would else print nothing."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.next = time.monotonic() + _LOOK
        self.updates: dict[str, Callable[[float, str], None]] = {}

    def report(self, needed: Sequence[tuple[str, dict[str, float]]]) -> None:
        """Compare (label, resources) with the nodes' resources, every few seconds."""
        import ray

        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + _LOOK
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        for label, needs in needed:
            if any(all(node.get(name, 0) >= each for name, each in needs.items()) for node in nodes):
                continue
            missing = ", ".join(f"{_amount(each)} {name}" for name, each in needs.items())
            if label not in self.updates:
                self.updates[label] = self.reporter.phase(
                    label, f"wait for a node with {missing}: none has it,"
                )
            self.updates[label](0.0, "")


def _amount(number: float) -> str:
    return f"{number / 2**30:.1f} GiB of" if number > 2**20 else f"{number:g}"


def _wants_gpus(execution: ExecutionConfig, gpus: float) -> bool:
    """Whether tasks need GPUs. A cluster that grows on demand may have none yet."""
    if execution.device == "auto":
        return gpus >= 1
    if execution.device == "cuda" and gpus < 1 and execution.address is None:
        raise HarnessError("--device cuda: no GPU on this machine", "use --device cpu")
    return execution.device == "cuda"


class _Mailbox:
    """An actor on the run's node that keeps the tasks' messages until the run reads them."""

    def __init__(self) -> None:
        self.messages: list[tuple[Any, ...]] = []

    def put(self, message: tuple[Any, ...]) -> None:
        """Keep a message."""
        self.messages.append(message)

    def empty(self) -> list[tuple[Any, ...]]:
        """All messages since the last call."""
        messages, self.messages = self.messages, []
        return messages


class _Post:
    """Sends a task's messages to the mailbox."""

    def __init__(self, mailbox: Any) -> None:
        self.mailbox = mailbox
        self.last: Any = None

    def send(self, message: tuple[Any, ...], /) -> None:
        """Send without waiting for an answer."""
        self.last = self.mailbox.put.remote(message)

    def flush(self) -> None:
        """Wait until all messages have arrived: a task must not end before its last message."""
        import ray

        if self.last is not None:
            ray.get(self.last)


def _task(
    settings: RunSettings, tables: dict[str, dict[str, str]], opener: Opener, job: Job, mailbox: Any
) -> list[tuple[Any, Any]] | HarnessError:
    """Do a job on its node; returns its results, or the error that ends the run."""
    use_threads(1)  # the one CPU that Ray has set aside
    registry.restore(tables)
    post = _Post(mailbox)
    try:
        return list(_opened(opener, _Once(settings))(job, Messenger(post)))
    except HarnessError as error:
        return error
    finally:
        post.flush()


class _Once:
    """A run as a key of the cache: a worker opens its data once for all of its jobs."""

    def __init__(self, settings: RunSettings) -> None:
        self.settings, self.text = settings, json.dumps(settings.flat())

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Once) and other.text == self.text


@lru_cache(maxsize=1)
def _opened(opener: Opener, run: _Once) -> Opened:
    return opener(run.settings)
