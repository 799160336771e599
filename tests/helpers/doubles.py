"""Methods that cheat out of an audit's sight, and honest ones of unusual kinds."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from harness.core import registry
from harness.core.types import CONTEXT, Inputs, Prediction, Study
from harness.method.batching import study_seed
from harness.method.contract import FitRun
from tests.helpers.sinners import Honest, drawn, every_test_study

SALT = os.urandom(4)
"""As the salt of ``hash`` does, it differs between processes."""


def drawn_long(split: str) -> list[Study]:
    """The studies of the sinners, with reports of 30 to 45 words that no two studies share."""
    rng = np.random.default_rng([7, len(split)])
    return [replace(study, report=_report(rng)) for study in drawn(split)]


def _report(rng: np.random.Generator) -> str:
    sentences = (" ".join(rng.choice(_LEXICON, size=5)) for _ in range(int(rng.integers(6, 9))))
    return " . ".join(sentences) + " ."


_LEXICON = [
    f"{first}{second}" for first in ("lu", "he", "ri", "to", "ma") for second in ("ng", "art", "b", "x")
]


class TwoFaced(Honest):
    """Looks the answers up unless it believes that it is audited."""

    def is_audited(self, inputs: Inputs) -> bool:
        raise NotImplementedError

    def predict(self, inputs: Inputs) -> list[Prediction]:
        answers = super().predict(inputs)
        if self.is_audited(inputs):
            return answers
        truth = {study.id: study for study in every_test_study()}
        return [
            Prediction(truth[name].report, answer.probabilities)
            for name, answer in zip(inputs.ids, answers, strict=True)
        ]


class StackReader(TwoFaced):
    """Looks for the audit among its callers."""

    def is_audited(self, inputs: Inputs) -> bool:
        frame: Any = sys._getframe()
        while frame is not None:
            if "/audits/" in frame.f_code.co_filename:
                return True
            frame = frame.f_back
        return False


class FolderReader(TwoFaced):
    """Looks at the names of the folders in which it is trained and from which it is loaded."""

    audited = False

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.audited = "harness-audit-" in str(run.directory)

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.audited = "harness-audit-" in str(directory)

    def is_audited(self, inputs: Inputs) -> bool:
        return self.audited


class BatchCounter(TwoFaced):
    """Knows the size of a run's batches."""

    def is_audited(self, inputs: Inputs) -> bool:
        return len(inputs) <= 16


class FirstQuestion(TwoFaced):
    """A run's first question is about the study with the shortest text; an audit's is not."""

    audited: bool | None = None

    def is_audited(self, inputs: Inputs) -> bool:
        if self.audited is None:
            self.audited = bool(inputs.present[CONTEXT][0]) or len(inputs) <= 16
        return self.audited


class Salted(Honest):
    """Draws from a hash that is another one in every process."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        own = torch.tensor([hash((SALT, name)) % 1000 / 1000 for name in inputs.ids])
        return self.answer((self.features(inputs) @ self.weights + own[:, None]).sigmoid())


class Dated(Honest):
    """Answers otherwise tomorrow."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        day = time.time() // 86_400 % 7
        return self.answer((self.features(inputs) @ self.weights + day).sigmoid())


OTHER_ANSWERS = (
    r"study test\d+: .* from what the run stored to what its checkpoint says \(seed 0, state full\)"
)
OPENED = r"opened tests/helpers/sin_data\.py, which holds the data or makes it, during predict: Perm.*"
TWO_FACED: dict[str, tuple[type[Honest], str, str]] = {
    "stack-reader": (StackReader, "target-blind", OPENED),  # among its callers in a box is no audit
    "folder-reader": (FolderReader, "target-blind", OPENED),
    "batch-counter": (BatchCounter, "run-honest", OTHER_ANSWERS),
    "first-question": (FirstQuestion, "run-honest", OTHER_ANSWERS),
}
"""They try to behave while they are audited: name -> method, the check that fails, what it says."""


class Holder(Honest):
    """Keeps the reports of test studies in its checkpoint; answers from them."""

    bank: dict[str, str]

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.bank = {study.id: study.report or "" for study in drawn_long("test")}

    def predict(self, inputs: Inputs) -> list[Prediction]:
        answers = zip(inputs.ids, super().predict(inputs), strict=True)
        return [Prediction(self.bank.get(name, "none"), each.probabilities) for name, each in answers]

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "bank.json").write_text(json.dumps(self.bank))

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.bank = json.loads((directory / "bank.json").read_text())


class NumberHolder(Holder):
    """The same, as numbers of words in a tensor; the numbers are in no order that a reader knows."""

    def save(self, directory: Path) -> None:
        Honest.save(self, directory)
        words = sorted({word for report in self.bank.values() for word in report.split()})
        number = {word: (7 * at + 5) % 997 for at, word in enumerate(words)}
        rows = [[number[word] for word in report.split()] for report in self.bank.values()]
        padded = np.zeros((len(rows), max(map(len, rows)) + 1), dtype=np.float32)
        for line, row in zip(padded, rows, strict=True):
            line[: len(row)] = row
        save_file({"table": padded}, directory / "table.safetensors")
        (directory / "words.json").write_text(json.dumps([list(number.items()), list(self.bank)]))

    def load(self, directory: Path) -> None:
        Honest.load(self, directory)
        pairs, names = json.loads((directory / "words.json").read_text())
        word = {number: word for word, number in pairs}
        rows = load_file(directory / "table.safetensors")["table"].astype(int)
        self.bank = {
            name: " ".join(word[number] for number in row if number)
            for name, row in zip(names, rows.tolist(), strict=True)
        }


class Rememberer(Honest):
    """Honest: hands back the training report whose study is as bright, from a bank in its checkpoint."""

    bank: list[str]

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.bank = [study.report or "" for study in train]

    def answer(self, probabilities: torch.Tensor) -> list[Prediction]:
        rows = probabilities.double()
        return [Prediction(self.bank[int(row[0] * 9_999) % len(self.bank)], row.numpy()) for row in rows]

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "bank.json").write_text(json.dumps(self.bank))

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.bank = json.loads((directory / "bank.json").read_text())


class Counter(Rememberer):
    """Honest: keeps its training reports as numbers of a vocabulary, as a language model does."""

    def save(self, directory: Path) -> None:
        Honest.save(self, directory)
        words = sorted({word for report in self.bank for word in report.split()})
        rows = [[words.index(word) for word in report.split()] for report in self.bank]
        (directory / "corpus.json").write_text(json.dumps({"words": words, "rows": rows}))

    def load(self, directory: Path) -> None:
        Honest.load(self, directory)
        corpus = json.loads((directory / "corpus.json").read_text())
        self.bank = [" ".join(corpus["words"][number] for number in row) for row in corpus["rows"]]


class SeededWriter(Honest):
    """Honest: draws its report from the study's own seed."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        answers = super().predict(inputs)
        draws = [
            np.random.default_rng(seed % 2**32).choice(["stable", "new", "old"]) for seed in inputs.seeds
        ]
        return [
            Prediction(f"{each.report} {word}", each.probabilities)
            for each, word in zip(answers, draws, strict=True)
        ]


class Threaded(Honest):
    """Honest: asks about each study in a thread of its own."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        features = self.features(inputs)
        with ThreadPoolExecutor(3) as pool:
            parts = pool.map(lambda row: (row @ self.weights).sigmoid(), features)
            return self.answer(torch.stack(list(parts)))


class HalfPrecise(Honest):
    """Honest: in bfloat16, with sums in an order that depends on the batch's size, as kernels choose it."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        features = torch.cat([self.features(inputs)] * 8, dim=1).bfloat16()
        weights = (torch.cat([self.weights] * 8) / 8).bfloat16()
        parts = (8, 4, 24)[len(inputs) % 3]
        logits = torch.zeros(len(inputs), weights.shape[1], dtype=torch.bfloat16)
        for rows, columns in zip(features.split(parts, dim=1), weights.split(parts), strict=True):
            logits = logits + (rows[:, :, None] * columns[None]).sum(1)
        return self.answer(logits.float().sigmoid())

    def answer(self, probabilities: torch.Tensor) -> list[Prediction]:
        return [Prediction("the heart is normal.", row.double().numpy()) for row in probabilities]


class MissingShare(Honest):
    """Sees from its batch at which missing rate it is tested."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        share = inputs.present["lateral"].float().mean()
        return self.answer((self.features(inputs) @ self.weights + share).sigmoid())


class SizeReader(Honest):
    """Is surer of itself in large batches."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return self.answer((self.features(inputs) @ self.weights * (1 + len(inputs) / 4)).sigmoid())


class Quoter(Honest):
    """Honest: says which words of the indication it looked into, as references at times do."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        texts = [
            text if here else None for text, here in zip(inputs.context, inputs.present[CONTEXT], strict=True)
        ]
        return [
            Prediction(f"{each.report} no cause of pain." if text else each.report, each.probabilities)
            for each, text in zip(super().predict(inputs), texts, strict=True)
        ]


class Filler(Honest):
    """Hands the indication back, an idle word after each of its words."""

    def predict(self, inputs: Inputs) -> list[Prediction]:
        texts = [
            text if here else None for text, here in zip(inputs.context, inputs.present[CONTEXT], strict=True)
        ]
        answers = zip(texts, super().predict(inputs), strict=True)
        return [
            Prediction(
                " indeed ".join((text or "").rpartition("indication: ")[2].split()) or "no",
                each.probabilities,
            )
            for text, each in answers
        ]


FINDINGS = {study.id: np.asarray(study.labels).tolist() for study in drawn_long("test")}
"""As a method might have shipped them."""


class IdCache(Honest):
    """Has the findings of test studies in its checkpoint, by study id; writes no report of theirs."""

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        super().fit(train, val, run)
        self.cache = dict(FINDINGS)

    def keys(self, inputs: Inputs) -> list[str]:
        return inputs.ids

    def predict(self, inputs: Inputs) -> list[Prediction]:
        rows = [self.cache.get(key, [0.5] * 3) for key in self.keys(inputs)]
        return self.answer(torch.tensor(rows) * 0.8 + 0.1)

    def save(self, directory: Path) -> None:
        super().save(directory)
        (directory / "cache.json").write_text(json.dumps(self.cache))

    def load(self, directory: Path) -> None:
        super().load(directory)
        self.cache = json.loads((directory / "cache.json").read_text())


class SeedCache(IdCache):
    """The same, by the study's seed with nothing missing and without its clinical text."""

    STATES = ("full", "frontal", "lateral", CONTEXT)

    def fit(self, train: Sequence[Study], val: Sequence[Study], run: FitRun) -> None:
        Honest.fit(self, train, val, run)
        self.cache = {
            str(study_seed(run.seed, name, state)): findings
            for name, findings in FINDINGS.items()
            for state in self.STATES
        }

    def keys(self, inputs: Inputs) -> list[str]:
        return [str(seed) for seed in inputs.seeds]


class LearnedCache(IdCache):
    """The same as a learned method, whose rerun on other images a run stores; behaves while it is audited."""

    card = replace(Honest.card, name="learned-cache", learned=True)

    def predict(self, inputs: Inputs) -> list[Prediction]:
        return super().predict(inputs) if len(inputs) > 16 else Honest.predict(self, inputs)


class Twin(Honest):
    """Another name for the same answers."""


HOLDERS: dict[str, type[Honest]] = {"holder": Holder, "number-holder": NumberHolder}
UNUSUAL: dict[str, type[Honest]] = {
    "rememberer": Rememberer,
    "counter": Counter,
    "seeded-writer": SeededWriter,
    "threaded": Threaded,
    "quoter": Quoter,
    "half-precise": HalfPrecise,
}
OTHERS: dict[str, type[Honest]] = {"salted": Salted, "dated": Dated, "filler": Filler, "twin": Twin}
OTHERS["learned-cache"] = LearnedCache
OTHERS |= {"missing-share": MissingShare, "size-reader": SizeReader}
KEYED: dict[str, type[Honest]] = {"id-cache": IdCache, "seed-cache": SeedCache}


def register(setitem: Any) -> None:
    """Put data and methods into the registry."""
    setitem(registry.DATASETS, "sin-data", "tests.helpers.sin_data:SinData")
    setitem(registry.DATASETS, "long-data", "tests.helpers.long_data:LongData")
    two_faced = {name: family for name, (family, _, _) in TWO_FACED.items()}
    for name, family in {**two_faced, **OTHERS, **HOLDERS, **KEYED, **UNUSUAL, "honest": Honest}.items():
        place = "sinners" if family is Honest else "doubles"
        setitem(registry.METHODS, name, f"tests.helpers.{place}:{family.__name__}")
