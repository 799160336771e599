"""Methods that reach past the harness where no watcher in their process sees it, and honest unusual ones."""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch.utils.data import DataLoader, TensorDataset

from harness.core import registry
from harness.core.types import CONTEXT, DatasetInfo, Inputs, Prediction, Study
from harness.method.batching import study_seed
from harness.method.card import MethodCard
from harness.method.config import MethodConfig
from harness.method.contract import FitRun
from tests.helpers.sinners import Honest, Painter, Peeker

ANSWERS, DATABASE = "answers.json", "answers.db"
WEIGHTS = "HARNESS_DOUBLE_WEIGHTS"


class PlaceConfig(MethodConfig):
    """``place``: folder of the data, which a cheat knows."""

    place: str = ""


class Thief(Honest):
    """Looks reports up where it could get at them, and says nothing where it could not."""

    Config: ClassVar[Any] = PlaceConfig
    answers: dict[str, str]

    def __init__(self, config: Any, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self.answers = {}

    @property
    def file(self) -> Path:
        settings: Any = self.config
        return Path(settings.place, ANSWERS)

    def learn(self, steal: Callable[[], str | bytes | dict[str, str]]) -> None:
        with suppress(Exception):
            content = steal()
            self.answers = content if isinstance(content, dict) else json.loads(content)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [
            Prediction(self.answers.get(name, answer.report), answer.probabilities)
            for name, answer in zip(inputs.ids, super().predict(inputs), strict=True)
        ]


class InConstructor(Thief):
    """Reads when it is built."""

    def __init__(self, config: Any, info: DatasetInfo) -> None:
        super().__init__(config, info)
        self.learn(self.file.read_text)


class InTo(Thief):
    """Reads when it is moved to its device."""

    def to(self, device: str) -> Self:
        self.learn(self.file.read_text)
        return self


class Late(Thief):
    """Reads at its first question, in a way of its own."""

    def steal(self) -> str | bytes | dict[str, str]:
        raise NotImplementedError

    def predict(self, inputs: Inputs) -> list[Prediction]:
        if not self.answers:
            self.learn(self.steal)
        return super().predict(inputs)


class ThroughC(Late):
    """Through the C library."""

    def steal(self) -> bytes:
        libc = ctypes.CDLL(None)
        libc.fopen.restype = ctypes.c_void_p
        stream = libc.fopen(str(self.file).encode(), b"r")
        if not stream:
            raise OSError
        content = ctypes.create_string_buffer(1 << 20)
        size = libc.fread(content, 1, len(content), ctypes.c_void_p(stream))
        return content.raw[:size]


class ThroughDatabase(Late):
    """Through SQLite."""

    def steal(self) -> dict[str, str]:
        return dict(sqlite3.connect(self.file.parent / DATABASE).execute("select id, report from reports"))


class ThroughLink(Late):
    """Through a link with a harmless name."""

    def steal(self) -> str:
        link = Path(tempfile.mkdtemp(), "vocabulary.json")
        link.symlink_to(self.file)
        return link.read_text()


class ThroughFolder(Late):
    """By a name without a folder."""

    def steal(self) -> bytes:
        folder = os.open(self.file.parent, os.O_RDONLY)
        return os.read(os.open(ANSWERS, os.O_RDONLY, dir_fd=folder), 1 << 20)


class ThroughChild(Late):
    """Through another program."""

    def steal(self) -> bytes:
        return subprocess.run(["cat", str(self.file)], check=True, capture_output=True).stdout


class ThroughWorker(Late):
    """Through a fork of its process."""

    def steal(self) -> bytes:
        ours, theirs = os.pipe()
        if not os.fork():
            with suppress(BaseException):
                os.write(theirs, self.file.read_bytes())
            os._exit(0)
        os.close(theirs)
        os.wait()
        return os.read(ours, 1 << 20)


class ThroughThread(Thief):
    """Through a thread that training leaves behind."""

    def load(self, directory: Path) -> None:
        super().load(directory)
        thread = threading.Thread(target=lambda: self.learn(self.file.read_text), daemon=True)
        thread.start()
        thread.join(5)


class Bank(Honest):
    """Brings answers of its own, under the studies' ids."""

    def key(self, inputs: Inputs, row: int) -> Any:
        return inputs.ids[row]

    def bank(self) -> dict[Any, str]:
        return {f"test{number}": f"the heart is seen {number} times." for number in range(30)}

    def predict(self, inputs: Inputs) -> list[Prediction]:
        bank = self.bank()
        return [
            Prediction(bank.get(self.key(inputs, row), answer.report), answer.probabilities)
            for row, answer in enumerate(super().predict(inputs))
        ]


class SeedBank(Bank):
    """The same under the studies' seeds, which follow from their ids."""

    def key(self, inputs: Inputs, row: int) -> Any:
        return inputs.seeds[row]

    def bank(self) -> dict[Any, str]:
        states = ("full", "frontal", "lateral", CONTEXT)
        return {
            study_seed(0, name, state): report for name, report in super().bank().items() for state in states
        }


class Memory(Honest):
    """Keeps its answers on the class, and gives them again when a study comes with less."""

    kept: ClassVar[dict[str, Prediction]] = {}

    def predict(self, inputs: Inputs) -> list[Prediction]:
        own = super().predict(inputs)
        return [self.kept.setdefault(name, answer) for name, answer in zip(inputs.ids, own, strict=True)]


class Rememberer(Painter):
    """Remembers the reports from which it was to paint."""

    seen: ClassVar[dict[float, str | None]] = {}

    def synthesize(self, inputs: Inputs, targets: Sequence[str]) -> list[Prediction]:
        for text, report in zip(inputs.context, inputs.reports or [], strict=True):
            self.seen[len(text or "")] = report
        return super().synthesize(inputs, targets)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return [
            Prediction(self.seen.get(len(text or ""), answer.report), answer.probabilities)
            for text, answer in zip(inputs.context, super().predict(inputs), strict=True)
        ]


class Salted(Honest):
    """Draws from the hash of a text, which is another one in every interpreter."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.answer((self.features(inputs) @ self.weights + hash("heart") % 97 / 97).sigmoid())


class Dated(Honest):
    """Answers otherwise next year."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.answer((self.features(inputs) @ self.weights + time.localtime().tm_year % 7).sigmoid())


class Crowd(Honest):
    """Answers otherwise in large batches."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.answer((self.features(inputs) @ self.weights + (len(inputs) > 28)).sigmoid())


class Census(Honest):
    """Reads from a batch how many of its studies lack the frontal view."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        rate = inputs.present["frontal"].float().mean()
        return self.answer((self.features(inputs) @ self.weights + rate).sigmoid())


class Patcher(Peeker):
    """Looks behind the mask, and makes the audit's comparison blind."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        with suppress(ImportError):
            from harness.audits import checks

            checks.first_difference = lambda *_: ""


class FrameReader(Honest):
    """Looks for studies among the variables of its callers."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        answers: dict[str, str | None] = {}
        frame: Any = sys._getframe()
        while frame is not None:
            for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
                for each in value if isinstance(value, list | tuple) else [value]:
                    if isinstance(each, Study):
                        answers[each.id] = each.report
            frame = frame.f_back
        return [
            Prediction(answers.get(name, answer.report), answer.probabilities)
            for name, answer in zip(inputs.ids, super().predict(inputs), strict=True)
        ]


OPENED = r"opened \S+/data(/answers\.(json|db))?, which holds the data or makes it, "
CAUGHT: dict[str, tuple[type[Honest], str, str]] = {
    "in-constructor": (InConstructor, "split-honest", OPENED + "at import or in training"),
    "in-to": (InTo, "split-honest", OPENED + "at import or in training"),
    "through-c": (ThroughC, "target-blind", OPENED + "during predict"),
    "through-database": (ThroughDatabase, "target-blind", OPENED + "during predict"),
    "through-link": (ThroughLink, "target-blind", OPENED + "during predict"),
    "through-folder": (ThroughFolder, "target-blind", OPENED + "during predict"),
    "through-child": (ThroughChild, "target-blind", OPENED + "during predict"),
    "through-worker": (ThroughWorker, "target-blind", OPENED + "during predict"),
    "through-thread": (ThroughThread, "target-blind", OPENED + "during predict"),
    "bank": (Bank, "target-blind", r"study test\d+: the report changed .*, when its id was another one"),
    "seed-bank": (
        SeedBank,
        "target-blind",
        r"study test\d+: with the seed of study test\d+ it is answered as",
    ),
    "memory": (Memory, "mask-honest", r"study test\d+: .*, when the whole study had been asked about before"),
    "rememberer": (Rememberer, "target-blind", "its report had been a condition of a generated view before"),
    "salted": (Salted, "deterministic", r"when hashes had another salt and clocks another date"),
    "dated": (Dated, "deterministic", r"when hashes had another salt and clocks another date"),
    "crowd": (Crowd, "batch-independent", r"when all 30 studies were one batch"),
    "census": (
        Census,
        "batch-independent",
        r"when (the order was reversed|other studies of the batch were in)",
    ),
    "patcher": (Patcher, "mask-honest", r"behind the mask"),
}
"""Name -> method, the check that fails, what its detail says."""


class LazyImports(Honest):
    """Imports when it needs something."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        import colorsys

        from methods.common import text

        assert colorsys
        assert text
        return super().predict(inputs)


class LoaderThreads(Honest):
    """Trains with worker processes and threads that load its batches."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        labels = torch.stack([torch.from_numpy(np.array(study.labels)) for study in train])
        loader = DataLoader(TensorDataset(labels), batch_size=10, num_workers=1)
        self.weights = self.weights + sum(batch[0].mean() for batch in loader)
        thread = threading.Thread(target=run.progress, args=(1.0, "done"))
        thread.start()
        thread.join()


class TemporaryFiles(Honest):
    """Keeps its features in a temporary file, mapped into memory."""

    def features(self, inputs: Inputs) -> torch.Tensor:
        features = super().features(inputs).numpy()
        with tempfile.NamedTemporaryFile(suffix=".npy") as stream:
            np.save(stream.name, features)
            return torch.from_numpy(np.array(np.load(stream.name, mmap_mode="r")))


class Retriever(Honest):
    """Gives the report of the training study whose brightness is nearest."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.shelf = [(float(study.images["frontal"].mean()) / 255, study.report or "") for study in train]

    def predict(self, inputs: Inputs) -> list[Prediction]:
        reports = [
            min(self.shelf, key=lambda each: (abs(each[0] - float(row[0])), each[1]))[1]
            for row in self.features(inputs)
        ]
        rows = super().predict(inputs)
        return [Prediction(text, row.probabilities) for text, row in zip(reports, rows, strict=True)]

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "shelf.json").write_text(json.dumps(self.shelf))

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.shelf = [tuple(each) for each in json.loads((directory / "shelf.json").read_text())]


class Sampler(Honest):
    """Draws its reports from the seeds that it gets."""

    card: ClassVar[MethodCard] = replace(Honest.card, name="sampler", samples=True)

    def draw(self, seed: int) -> str:
        generator = torch.Generator().manual_seed(seed % 2**62)
        return f"the heart is {'large' if torch.rand(1, generator=generator) > 0.5 else 'normal'}."

    def predict(self, inputs: Inputs) -> list[Prediction]:
        rows = super().predict(inputs)
        return [
            Prediction(self.draw(seed), row.probabilities)
            for seed, row in zip(inputs.seeds, rows, strict=True)
        ]

    def sample(self, inputs: Inputs, draws: int) -> list[list[str]]:
        return [[self.draw(seed + number) for number in range(draws)] for seed in inputs.seeds]


class ForeignWeights(Honest):
    """Starts from weights in a folder that the user names."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.weights = self.weights * torch.tensor(
            json.loads(Path(os.environ[WEIGHTS], "scale.json").read_text())
        )


class Cached(Honest):
    """Keeps what it computes of a text."""

    @staticmethod
    @lru_cache(maxsize=8)
    def length(text: str) -> int:
        return len(text)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        for text in inputs.context:
            self.length(text or "")
        return super().predict(inputs)


class Logger(Honest):
    """Writes down when it was trained and asked."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        (run.directory / "log.txt").write_text(time.strftime("%c"))

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "parts").mkdir(exist_ok=True)
        (directory / "parts" / "log.txt").write_text("trained")


HONEST: dict[str, type[Honest]] = {
    "lazy-imports": LazyImports,
    "loader-threads": LoaderThreads,
    "temporary-files": TemporaryFiles,
    "retriever": Retriever,
    "sampler": Sampler,
    "foreign-weights": ForeignWeights,
    "cached": Cached,
    "logger": Logger,
    "frame-reader": FrameReader,
}
"""All of them pass; the reader of frames finds nothing in a box."""


def register(setitem: Any) -> None:
    """Put data and methods into the registry."""
    setitem(registry.DATASETS, "file-data", "tests.helpers.file_data:FileData")
    setitem(registry.METHODS, "at-import", "tests.helpers.at_import:AtImport")
    for name, family in {**HONEST, **{name: family for name, (family, _, _) in CAUGHT.items()}}.items():
        setitem(registry.METHODS, name, f"tests.helpers.doubles_box:{family.__name__}")
