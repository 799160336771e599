"""The metrics that RadEval has, too: our time beside that of its own calls, on small random checkpoints.

Texts that differ show what batches cost, texts that recur what a second look at a text costs. Both sides have
their model loaded before the clock runs, and nothing from an earlier run on disk. Values are compared, too: a
ratio between two things that differ means nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np

from harness.bench import checkpoints
from harness.bench.rows import Row, best, measured
from harness.core import registry
from harness.core.packages import absent
from harness.core.types import Prediction, Reference
from harness.datasets.iu import reports as iu_reports
from harness.metrics.base import Metric
from harness.metrics.text.bertscore import Encoder

_SUITE = "metrics"
_PAIRS, _FEW, _TIMES = 64, 4, 8
"""Pairs of reports, fewer of a model that reads one text at a time, and how often pairs occur that recur."""

_REPEATS = 5

Texts = tuple[Sequence[str], Sequence[str]]
"""Predictions and references."""


@dataclass(frozen=True, slots=True)
class Shared:
    """A metric on both sides.

    Attributes:
        title: what rows call it.
        ours: the metric, once ``settings`` are the environment.
        output: which of its numbers is compared.
        settings: environment variable -> value, in which ``{folder}`` is the checkpoint's.
        write: makes the checkpoint in a folder, from texts.
        peer: RadEval's call with that folder: predictions and references to its number.
        pairs: of different texts.
    """

    title: str
    ours: Callable[[], Metric]
    output: str
    settings: Mapping[str, str]
    write: Callable[[Path, Sequence[str]], None]
    peer: Callable[[Path], Callable[[list[str], list[str]], float]]
    pairs: int = _PAIRS


def radeval_benchmark() -> list[Row]:
    """Two rows per shared metric; one row that says so where RadEval is not installed."""
    if find_spec("radeval") is None:
        note = "radeval is not installed: pip install --no-deps radeval"
        return [Row(_SUITE, "metrics of RadEval", of="radeval", note=note, state="skipped")]
    rows: list[Row] = []
    for shared in SHARED:
        if (missing := _missing(shared)) is not None:
            rows.append(Row(_SUITE, shared.title, of="radeval", note=missing, state="skipped"))
            continue
        with TemporaryDirectory() as name, environment(shared, Path(name)):
            shared.write(Path(name), _texts(_PAIRS)[0])
            rows += _rows(shared, Path(name))
    return rows


def _missing(shared: Shared) -> str | None:
    needed = ("torch", "transformers", *(("radgraph",) if shared.output.startswith("radgraph") else ()))
    names = absent(*needed)
    return f"needs {' and '.join(names)}" if names else None


@contextmanager
def environment(shared: Shared, folder: Path) -> Iterator[None]:
    """The checkpoint's folders as settings, and a cache of its own."""
    values = {name: value.format(folder=folder) for name, value in shared.settings.items()}
    with patch.dict(os.environ, {**values, "HARNESS_CACHE": str(folder / "cache")}):
        yield


def _rows(shared: Shared, folder: Path) -> Iterator[Row]:
    metric, peer = shared.ours(), shared.peer(folder)
    different = _texts(shared.pairs)
    recurring = [*different[0]] * _TIMES, [*different[1]] * _TIMES
    for kind, texts in (("different", different), (f"each {_TIMES} times", recurring)):
        ours = _Ours(metric, texts, shared.output, folder)
        with quiet():
            theirs = peer(*map(list, texts))
            value = ours()
            if abs(value - theirs) > 1e-4:
                raise AssertionError(f"{shared.title}: {value:.6f} here and {theirs:.6f} in RadEval")
            peer_call = partial(peer, *map(list, texts))
            times = [(best(ours, 1), best(peer_call, 1)) for _ in range(_REPEATS)]  # in turns
            seconds, other = map(min, zip(*times, strict=True))
        name = f"{shared.title}, {shared.pairs} pairs, {kind}, small random model"
        yield measured(_SUITE, name, seconds, peer=other, of="radeval")


class _Ours:
    """Our number of some texts, each time without what an earlier call left on disk or in memory."""

    def __init__(self, metric: Metric, texts: Texts, output: str, folder: Path) -> None:
        self.metric, self.output, self.folder = metric, output, folder
        self.predictions = [Prediction(report=text) for text in texts[0]]
        self.references = [Reference(str(n), str(n), text) for n, text in enumerate(texts[1])]
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        os.environ["HARNESS_CACHE"] = str(self.folder / f"cache-{id(self)}-{self.calls}")
        forget(self.metric)
        rows = self.metric.statistics(self.predictions, self.references)
        return float(self.metric.values(rows, np.ones((1, len(rows))))[self.output][0])


def forget(metric: Metric) -> None:
    """Drop the vectors of texts that a metric has in memory; its model stays."""
    encoder = vars(metric).get("_encoder")
    if isinstance(encoder, Encoder):
        encoder.forget()


def _texts(pairs: int) -> Texts:
    """So many different predictions and references: findings of real reports."""
    reports = iu_reports.read_reports(iu_reports.find_data_folder())
    texts = list(dict.fromkeys(each.findings for each in reports.values() if each.findings))[: 2 * pairs]
    return texts[:pairs], texts[pairs:]


@contextmanager
def quiet() -> Iterator[None]:
    """RadEval prints."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _bertscore(folder: Path) -> Callable[[list[str], list[str]], float]:
    from radeval.metrics.bertscore.bertscore import BertScore

    scorer = BertScore(model_type=str(folder / "bert"), num_layers=2, rescale_with_baseline=False)
    return lambda ours, theirs: float(scorer(theirs, ours)[0])


def _f1chexbert(folder: Path) -> Callable[[list[str], list[str]], float]:
    module = importlib.import_module("radeval.metrics.f1chexbert.f1chexbert")
    checkpoint = str(folder / "chexbert.pth")
    with (
        contextlib.chdir(folder),  # where RadEval's name of the backbone is a folder
        patch.object(module, "hf_hub_download", lambda **_: checkpoint),
    ):
        scorer = module.F1CheXbert(device="cpu")
    return lambda ours, theirs: float(scorer(ours, theirs)[2]["micro avg"]["f1-score"])


def _radgraph(folder: Path) -> Callable[[list[str], list[str]], float]:
    import radeval

    # Release 2.2.1 imports itself under its former name.
    with patch.dict(sys.modules, {"RadEval": radeval}):
        module = importlib.import_module("radeval.metrics.radgraph")
        with quiet():
            scorer = module.F1RadGraph(
                reward_level="all", model_type="radgraph-xl", model_cache_dir=str(folder), cuda=-1
            )
    return lambda ours, theirs: float(scorer(refs=theirs, hyps=ours)[0][0])


def _written_radgraph() -> Metric:
    from harness.metrics.clinical.radgraph import RadGraphF1

    return RadGraphF1("radgraph-xl", "written")


def _named(family: str) -> Callable[[], Metric]:
    def family_of() -> Metric:
        metric: Metric = registry.make_metric(family)
        return metric

    return family_of


def _write_bert(folder: Path, texts: Sequence[str]) -> None:
    checkpoints.write_encoder(folder / "bert", texts)


def _write_radgraph(folder: Path, texts: Sequence[str]) -> None:
    # With a smaller network the time would be that of the random model's thousands of relations.
    sizes = {"hidden_size": 256, "num_hidden_layers": 6, "num_attention_heads": 4, "intermediate_size": 1024}
    checkpoints.write_radgraph(folder, "radgraph-xl", texts, **sizes)


SHARED: tuple[Shared, ...] = (
    Shared(
        "BERTScore", _named("bertscore"), "bertscore_f1",
        {"HARNESS_BERTSCORE_MODEL": "{folder}/bert", "HARNESS_BERTSCORE_LAYER": "2"}, _write_bert, _bertscore,
    ),
    Shared(
        "F1CheXbert", _named("chexbert_f1"), "chexbert_f1_micro_14",
        {"HARNESS_CHEXBERT": "{folder}"}, checkpoints.write_chexbert, _f1chexbert,
    ),
    Shared(
        "RadGraph F1", _written_radgraph, "radgraph_f1_simple",
        {"HARNESS_RADGRAPH": "{folder}"}, _write_radgraph, _radgraph, _FEW,
    ),
)  # fmt: skip
