"""What runs in a box: it imports one method, trains it and asks it, as its owner's messages say."""

from __future__ import annotations

import inspect
import os
import random
import signal
import socket
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from importlib import import_module, invalidate_caches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.core.errors import HarnessError, PluginError
from harness.core.failures import describe, no_silent_end
from harness.core.opened import opened_files
from harness.core.types import Study
from harness.method.answers import checked_fit, checked_predictions, checked_reports
from harness.method.box import codec
from harness.method.box.by_name import find_by_name
from harness.method.box.ending import exit_code
from harness.method.box.kernel import restrict_calls, restrict_files
from harness.method.box.wire import Channel
from harness.method.card import MethodCard
from harness.method.contract import FitRun, Method
from harness.method.cost import PeakMemory, sizes

Answer = dict[str, Any]
COPY = "copy"
"""The question that a process answers by forking."""


class Inside:
    """The method of a box. Each public function answers a message of its name.

    Args:
        progress: called with (fraction done, status) while the method trains.
        method_class: what is asked, where no module has it.
    """

    def __init__(
        self, progress: Callable[[float, str], None], method_class: type[Method[Any]] | None = None
    ) -> None:
        self.progress, self.method_class = progress, method_class
        self.module = ""
        self.new: Callable[[], Method[Any]]
        self.method: Method[Any]
        self.studies: dict[str, list[Study]] = {"train": [], "val": []}

    def describe(self, target: str) -> Answer:
        """Import a method's class; what it declares."""
        loaded = self._loaded(target)
        return {
            "card": codec.card_out(loaded.card),
            "has_experts": bool(loaded.has_experts),
            "has_branches": bool(loaded.has_branches),
            "samplers": codec.plain(loaded.SAMPLERS),
        }

    def _loaded(self, target: str) -> Any:
        self.module, _, name = target.partition(":")
        loaded: Any = self.method_class or import_module(self.module)
        for part in name.split(".") if self.method_class is None else ():
            loaded = getattr(loaded, part)
        if not isinstance(getattr(loaded, "card", None), MethodCard):
            raise PluginError(f"{target} has no card")
        if not (isinstance(loaded, type) and issubclass(loaded, Method)):
            raise PluginError(f"{target} is no Method")
        return loaded

    def configure(
        self, target: str, info: Mapping[str, Any], settings: Mapping[str, Any], build: bool = True
    ) -> Answer:
        """The settings of a method, and what it remarks where it can be built; it takes what ``plug`` takes.

        A constructor that fails is left to ``plug``, before ``fit``: then it is a row that fails. Where it
        has ended a process, ``build`` is false.
        """
        chosen = {key: settings[key] for key in ("variant", "preset", "overrides")}
        config = self._loaded(target).configured(**chosen)
        remark = ""
        if build:
            with suppress(BaseException), no_silent_end():
                self.plug(target, info, settings)
                config, remark = self.method.config, str(self.method.remark)
        return {
            "config": config.model_dump(mode="json"),
            "pretrained": [asdict(part) for part in config.pretrained],
            "remark": remark,
        }

    def plug(self, target: str, info: Mapping[str, Any], settings: Mapping[str, Any]) -> Answer:
        """Import a method and build it.

        Args:
            target: ``module:Class``.
            info: of the dataset.
            settings: ``variant``, ``preset``, ``overrides`` as ``Method.create`` takes them, ``device``.

        Returns:
            What its owner may know: the card, the modules of the class, what its functions take.
        """
        self.device = settings["device"]
        loaded = self._loaded(target)
        given = {key: settings[key] for key in ("variant", "preset", "overrides")}
        facts = codec.info_in(info)
        self.new = lambda: loaded.create(facts, **given)
        self.method = self.new()
        return {
            "card": codec.card_out(loaded.card),
            "config": self.method.config.model_dump(mode="json"),
            "modules": _modules(loaded),
            "takes": _takes(self.method),
        }

    def take(self, split: str, studies: Sequence[Any]) -> Answer:
        """More training or validation studies for ``fit``."""
        self.studies[split] += codec.studies_in(studies)
        return {}

    def fit(self, train: Sequence[Any], val: Sequence[Any], seed: int, folder: str) -> Answer:
        """Train the method on the studies that it has and those of the message; the peak of its memory."""
        run = FitRun(Path(folder), self.device, seed, self.progress)
        more = {"train": codec.studies_in(train), "val": codec.studies_in(val)}
        learned_from = {split: self.studies[split] + more[split] for split in more}
        with PeakMemory(self.device) as memory:
            returned: object = self.method.fit(learned_from["train"], learned_from["val"], run)
            checked_fit(self.method, returned)
        self.studies = {"train": [], "val": []}
        self.method = self.method.to(self.device)
        return {"peak_memory_gib": memory.gib}

    def sizes(self, study: Any) -> Answer:
        """Parameters and FLOPs of the fitted method."""
        (example,) = codec.studies_in([study])
        return {"sizes": sizes(self.method, example)}

    def save(self, folder: str) -> Answer:
        """Write the method's checkpoint."""
        Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)  # as a run has it
        self.method.save(Path(folder))
        return {}

    def load(self, folder: str) -> Answer:
        """Become the method of a checkpoint."""
        self.method = self.new()
        self.method.load(Path(folder))
        self.method = self.method.to(self.device)
        return {}

    def predict(self, inputs: Mapping[str, Any]) -> Answer:
        """Predictions for a batch."""
        batch = codec.inputs_in(inputs)
        answers = checked_predictions(self.method, self.method.predict(batch), len(batch))
        return {"predictions": codec.predictions_out(answers)}

    def sample(self, inputs: Mapping[str, Any], draws: int) -> Answer:
        """Drawn reports for a batch."""
        batch = codec.inputs_in(inputs)
        drawn = checked_reports(self.method.sample(batch, draws), len(batch), draws)
        return {"reports": [list(own) for own in drawn]}

    def synthesize(self, inputs: Mapping[str, Any], targets: Sequence[str]) -> Answer:
        """Generated views, or reports, for a batch."""
        batch = codec.inputs_in(inputs)
        returned = self.method.synthesize(batch, list(targets))
        answers = checked_predictions(self.method, returned, len(batch), "synthesize")
        return {"predictions": codec.predictions_out(answers)}

    def sample_with(self, options: Mapping[str, Any]) -> Answer:
        """Sample with other options from here on."""
        self.method.sample_with(**options)
        return {}

    def routing(self, inputs: Mapping[str, Any]) -> Answer:
        """To which experts the words of a batch go: number of words and shares, block by block."""
        routed = self.method.routing(codec.inputs_in(inputs))
        return {"routing": [[len(each.words), codec.array(each.utilisation())] for each in routed]}

    def confidences(self, inputs: Mapping[str, Any]) -> Answer:
        """How far each branch is trusted in each study of a batch."""
        return {"values": _arrays(self.method.confidences(codec.inputs_in(inputs)))}

    def latents(self, inputs: Mapping[str, Any]) -> Answer:
        """Named latents of each study of a batch."""
        return {"values": _arrays(self.method.latents(codec.inputs_in(inputs)))}

    def modules(self) -> Answer:
        """Names of what is imported in this process."""
        return {"names": sorted(sys.modules)}

    def warm(self, names: Sequence[str]) -> Answer:
        """Import modules of installed packages, so that copies of this process need not.

        Args:
            names: what a copy has imported.
        """
        for name in names:
            if name not in sys.modules:
                with suppress(Exception, SystemExit):
                    import_module(name)
        return {}

    def reseed(self, seed: int) -> Answer:
        """Seed the generators of the process, from which a careless method would draw."""
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        return {}

    def ended(self, process: int, wait: float) -> Answer:
        """Exit code of a copy of this process; 0 where it has to be ended after ``wait`` seconds."""
        code = exit_code(process, wait)
        if code is None:
            with suppress(ProcessLookupError):  # it has just begun, and leads no group yet
                os.killpg(process, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            exit_code(process, 1.0)
        return {"code": code or 0}


QUESTIONS = frozenset(
    name for name, each in vars(Inside).items() if inspect.isfunction(each) and not name.startswith("_")
)


def answered(inside: Inside, message: dict[str, Any], log: Callable[[], object] = lambda: None) -> Answer:
    """The answer to a message; what a method raises is an answer, too, after a call of ``log``."""
    question = message.pop("question")
    try:
        if question not in QUESTIONS:
            raise HarnessError(f"a box does not answer {question}")
        answer: Answer = getattr(inside, question)(**message)
    except BaseException as error:  # also what would end the process: nothing but the method raised it
        log()
        kind = type(error).__name__
        return {"kind": "error", "reason": describe(error, inside.module), "type": kind}
    return {"kind": "answer", **answer}


def serve(end: socket.socket) -> None:
    """Confine this process as its first message says, and answer messages until the owner closes the box."""
    channel = Channel(end)
    inside = Inside(
        lambda share, status: channel.send({"kind": "progress", "at": [float(share), str(status)]})
    )
    try:
        told = confine(channel, channel.receive())
        with ExitStack() as stack:
            paths: list[str] = [] if told else stack.enter_context(opened_files())
            answer_all(channel, inside, paths)
    except (EOFError, OSError):
        return


def answer_all(channel: Channel, inside: Inside, paths: list[str]) -> None:
    """Answer messages until the owner closes the box.

    Args:
        channel: to the owner.
        inside: answers.
        paths: what was opened; the owner gets them with the answers.
    """
    while True:
        message = channel.receive()
        if message["question"] == COPY:
            copy(channel, message)
        else:
            process, answer = os.getpid(), answered(inside, message, traceback.print_exc)
            if os.getpid() != process:  # a fork that came back out of the method would answer, too
                os._exit(1)
            opened, paths[:] = list(dict.fromkeys(paths)), []
            channel.send({**answer, "opened": opened} if opened else answer)


def confine(channel: Channel, order: Mapping[str, Any]) -> bool:
    """Give up everything that a box does without, for good; tells the owner what the kernel refuses now.

    Returns:
        Whether the kernel tells the owner what this process opens.
    """
    _move(order)
    sys.path[:] = os.environ["PYTHONPATH"].split(os.pathsep)  # the owner's, which may have grown
    invalidate_caches()
    last = bool(order["last"])
    # Threads of a parallel operation would not outlive a fork.
    torch.set_num_threads(int(order["threads"]) if last else 1)
    limits(int(order["file_bytes"]))
    _print_into(str(order["output"]))
    version = restrict_files(_rights(order))
    find_by_name(sys.path)
    listener = restrict_calls(listened=True)
    channel.send({"kind": "confined", "files": version, "network": listener is not None})
    if listener is not None and listener >= 0:
        socket.send_fds(channel.end, [b"!"], [listener])
        os.close(listener)
        return True
    channel.end.sendall(b"-")
    return False


def copy(channel: Channel, order: Mapping[str, Any]) -> None:
    """Fork: the copy answers on a socket of its own, and may write into its own folder only."""
    _, handles, _, _ = socket.recv_fds(channel.end, 1, 1)
    process = os.fork()
    if process:
        os.close(handles[0])
        channel.send({"kind": "answer", "process": process})
        return
    channel.end.close()
    channel.end = socket.socket(fileno=handles[0])
    os.setpgid(0, 0)
    _move(order)
    torch.set_num_threads(int(order["threads"]))
    restrict_files(_rights(order))


def _move(order: Mapping[str, Any]) -> None:
    """Work in the folder of an order, with its environment."""
    os.chdir(str(order["place"]))
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None


def _print_into(output: str) -> None:
    """Append what the process prints to a file, where one is named."""
    if output:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
        for stream in (1, 2):
            os.dup2(handle, stream)
        os.close(handle)


def _rights(order: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(str(path), int(right)) for path, right in order["rights"]]


def limits(file_bytes: int) -> None:
    """No memory dumps, and no file longer than ``file_bytes``."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def _arrays(values: Mapping[str, Any]) -> Answer:
    return {name: codec.array(each) for name, each in values.items()}


def _modules(method_class: type) -> list[str]:
    return list(dict.fromkeys(base.__module__ for base in method_class.__mro__))


def _takes(method: Method[Any]) -> dict[str, list[str]]:
    """What ``predict`` and ``sample`` take beside the inputs."""
    names = {
        name: list(inspect.signature(getattr(method, name)).parameters) for name in ("predict", "sample")
    }
    return {
        "predict": names["predict"][1:],
        "sample": [each for each in names["sample"][1:] if each != "draws"],
    }
