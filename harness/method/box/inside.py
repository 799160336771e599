"""What runs in a box: it imports one method, trains it and asks it, as its owner's messages say."""

from __future__ import annotations

import inspect
import os
import random
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module, invalidate_caches
from pathlib import Path
from pkgutil import get_importer
from typing import Any

import numpy as np
import torch

from harness.core.errors import HarnessError, PluginError
from harness.core.failures import describe
from harness.method.box import codec
from harness.method.box.ending import exit_code
from harness.method.box.kernel import restrict_calls, restrict_files
from harness.method.box.wire import Channel
from harness.method.card import MethodCard
from harness.method.contract import FitRun, Method

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

    def plug(self, target: str, info: Mapping[str, Any], settings: Mapping[str, Any]) -> Answer:
        """Import a method and build it.

        Args:
            target: ``module:Class``.
            info: of the dataset.
            settings: ``variant``, ``preset``, ``overrides`` as ``Method.create`` takes them, ``device``.

        Returns:
            What its owner may know: the card, the modules of the class, what its functions take.
        """
        self.module, _, name = target.partition(":")
        self.device = settings["device"]
        loaded: Any = self.method_class or import_module(self.module)
        for part in name.split(".") if self.method_class is None else ():
            loaded = getattr(loaded, part)
        if not isinstance(getattr(loaded, "card", None), MethodCard):
            raise PluginError(f"{target} has no card")
        given = {key: settings[key] for key in ("variant", "preset", "overrides")}
        facts = codec.info_in(info)
        self.new = lambda: loaded.create(facts, **given)
        self.method = self.new()
        return {
            "card": _facts_of(loaded.card),
            "config": self.method.config.model_dump(mode="json"),
            "modules": _modules(loaded),
            "takes": _takes(self.method),
        }

    def fit(self, train: Sequence[Any], val: Sequence[Any], seed: int, folder: str) -> Answer:
        """Train the method."""
        run = FitRun(Path(folder), self.device, seed, self.progress)
        self.method.fit(codec.studies_in(train), codec.studies_in(val), run)
        self.method = self.method.to(self.device)
        return {}

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
        return {"predictions": codec.predictions_out(self.method.predict(codec.inputs_in(inputs)))}

    def sample(self, inputs: Mapping[str, Any], draws: int) -> Answer:
        """Drawn reports for a batch."""
        return {"reports": [list(own) for own in self.method.sample(codec.inputs_in(inputs), draws)]}

    def synthesize(self, inputs: Mapping[str, Any], targets: Sequence[str]) -> Answer:
        """Generated views, or reports, for a batch."""
        answers = self.method.synthesize(codec.inputs_in(inputs), list(targets))
        return {"predictions": codec.predictions_out(answers)}

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


QUESTIONS = ("plug", "fit", "save", "load", "predict", "sample", "synthesize", "reseed", "ended")


def answered(inside: Inside, message: dict[str, Any]) -> Answer:
    """The answer to a message; what a method raises is an answer, too."""
    question = message.pop("question")
    try:
        if question not in QUESTIONS:
            raise HarnessError(f"a box does not answer {question}")
        answer: Answer = getattr(inside, question)(**message)
    except (Exception, SystemExit) as error:
        return {"kind": "error", "reason": describe(error, inside.module), "type": type(error).__name__}
    return {"kind": "answer", **answer}


def serve(end: socket.socket) -> None:
    """Confine this process as its first message says, and answer messages until the owner closes the box."""
    channel = Channel(end)
    inside = Inside(
        lambda share, status: channel.send({"kind": "progress", "at": [float(share), str(status)]})
    )
    try:
        confine(channel, channel.receive())
        while True:
            message = channel.receive()
            if message["question"] == COPY:
                copy(channel, message)
            else:
                channel.send(answered(inside, message))
    except (EOFError, OSError):
        return


def confine(channel: Channel, order: Mapping[str, Any]) -> None:
    """Give up everything that a box does without, for good; tells the owner what the kernel refuses now."""
    _move(order)
    sys.path[:] = os.environ["PYTHONPATH"].split(os.pathsep)  # the owner's, which may have grown
    invalidate_caches()
    for entry in sys.path:  # finders read the names in it while they can
        finder = get_importer(entry)
        if finder is not None:
            finder.find_spec("_")
    torch.set_num_threads(1)  # threads of a parallel operation would not outlive a fork
    limits(int(order["file_bytes"]))
    version = restrict_files(_rights(order))
    listener = restrict_calls(listened=True)
    channel.send({"kind": "confined", "files": version, "network": listener is not None})
    if listener is not None and listener >= 0:
        socket.send_fds(channel.end, [b"!"], [listener])
        os.close(listener)
    else:
        channel.end.sendall(b"-")


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
    os.chdir(str(order["folder"]))
    os.environ.clear()
    os.environ.update(order["environment"])
    tempfile.tempdir = None


def _rights(order: Mapping[str, Any]) -> list[tuple[str, int]]:
    return [(str(path), int(right)) for path, right in order["rights"]]


def limits(file_bytes: int) -> None:
    """No memory dumps, and no file longer than ``file_bytes``."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))


def _facts_of(card: MethodCard) -> Answer:
    return {
        "name": card.name,
        "title": card.title,
        "tasks": sorted(card.tasks),
        "reads": sorted(card.reads),
        "variants": sorted(card.variants),
        "opponents": list(card.opponents),
        "learned": bool(card.learned),
        "samples": bool(card.samples),
    }


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
