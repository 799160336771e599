"""What every registered method, dataset and metric keeps: a new plugin is tested by registering it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
from harness import metrics
from harness.cli.list import listing
from harness.core import registry
from harness.core.errors import HarnessError, UnknownNameError
from harness.core.metric_options import MetricOptions
from harness.core.types import DatasetInfo, JointPrediction, Prediction, Reference, Study, Task
from harness.core.words import PROFILES
from harness.evaluation.report_samples import ReportSamples
from harness.method import size
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun, Method
from harness.method.cost import last_signs
from harness.method.size import REFERENCE_INFO, describe
from harness.method.torch_method import TorchMethod
from harness.metrics.base import SIGNATURE, JointMetric, Metric, MetricOutput, Statistics, mean_of
from harness.metrics.clinical.labels import LABELS
from harness.store.manifest import VitalSigns
from tests.helpers import caption_trees, trees

TREES = trees.TREES | caption_trees.TREES
METHODS = registry.names("methods")
LEARNED = [name for name in METHODS if issubclass(registry.load("methods", name), TorchMethod)]
METRICS = registry.names("metrics")
DRAWN = pytest.param("iu-phantom", marks=pytest.mark.process)  # other Pythons draw its images
DATASETS = [DRAWN if name == "iu-phantom" else name for name in registry.names("datasets")]
MODALITIES = {"frontal", "lateral", "image", "context", "clinical", "dermoscopic", "fundus", "oct", "slo"}

INFO = DatasetInfo(
    name="contract",
    tasks=frozenset({Task.REPORT, Task.DIAGNOSE}),
    image_modalities=("frontal", "lateral"),
    has_context=True,
    image_size=64,
    label_names=("Cardiomegaly", "Edema", "No Finding"),
    fingerprint="contract-1",
)
SENTENCES = [
    "the heart is normal.",
    "the lungs are clear.",
    "no pleural effusion.",
    "mild cardiomegaly is seen.",
]


def studies(split: str, n: int) -> list[Study]:
    """Bright images go with one report, dark ones with another; some studies lack a view or the context."""
    rng = np.random.default_rng(len(split))
    made = []
    for number in range(n):
        bright = number % 2
        images = {
            view: rng.integers(100 * bright, 100 + 100 * bright, (64, 64, 1), dtype=np.uint8)
            for view in ("frontal", "lateral")
        }
        if number % 5 == 4:
            del images["lateral"]
        context = None if number % 4 == 3 else f"age {40 + number}. indication: chest pain"
        report = " ".join(SENTENCES[bright::2])
        labels = np.array([bright, 1 - bright, 0], dtype=np.float32)
        made.append(Study(f"{split}{number}", f"{split}p{number}", split, images, context, report, labels))
    return made


@pytest.fixture(scope="module", params=METHODS)
def fitted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Method:
    """Each method after one epoch on a dozen studies."""
    folder = tmp_path_factory.mktemp(request.param)
    method_class = registry.load("methods", request.param)
    overrides = {"training.epochs": 1, "training.batch_size": 4} if method_class.card.learned else {}
    method = method_class.create(INFO, overrides=overrides)
    (folder / "training").mkdir()
    method.fit(studies("train", 12), studies("val", 4), FitRun(folder / "training", "cpu", 0))
    method.folder = folder
    return method


def predict(method: Method, batch: list[Study], **blank: str) -> dict[str, Prediction]:
    inputs = collate(batch, INFO, reads=method.card.reads, **blank)
    return dict(zip(inputs.ids, method.predict(inputs), strict=True))


def test_predicts_what_its_card_declares(fitted: Method) -> None:
    for prediction in predict(fitted, studies("test", 5)).values():
        if Task.REPORT in fitted.card.tasks:
            assert isinstance(prediction.report, str)
        if Task.DIAGNOSE in fitted.card.tasks:
            assert prediction.probabilities.shape == (3,)
            assert ((prediction.probabilities >= 0) & (prediction.probabilities <= 1)).all()


def test_probes_are_finite_and_loss_terms_add_up(fitted: Method) -> None:
    signs = VitalSigns(**last_signs(fitted.folder / "training"))
    assert not signs.error
    assert bool(signs.probes) == fitted.card.learned
    assert all(probe.value is not None for probe in signs.probes), [str(probe) for probe in signs.probes]
    assert len({(probe.part, probe.quantity) for probe in signs.probes}) == len(signs.probes)


def test_prediction_does_not_depend_on_company_or_order(fitted: Method) -> None:
    batch = studies("test", 9)
    together = predict(fitted, batch)
    reversed_ = predict(fitted, batch[::-1])
    for study in batch:
        alone = predict(fitted, [study])[study.id]
        for other in (together[study.id], reversed_[study.id]):
            assert other.report == alone.report
            if alone.probabilities is not None:
                assert np.allclose(other.probabilities, alone.probabilities, atol=1e-5)


def test_prediction_is_repeatable(fitted: Method) -> None:
    batch = studies("test", 4)
    assert str(predict(fitted, batch)) == str(predict(fitted, batch))


@pytest.mark.parametrize("dropped", ["frontal", "lateral", "context"])
def test_predicts_in_every_modality_state(fitted: Method, dropped: str) -> None:
    predictions = predict(fitted, studies("test", 6), dropped=dropped)
    assert len(predictions) == 6


def test_predicts_with_nothing_present(fitted: Method) -> None:
    bare = Study("bare", "bare", "test", {}, None)
    assert len(predict(fitted, [bare, *studies("test", 2)])) == 3


def test_attention_of_a_word_sums_to_one_over_the_images(fitted: Method) -> None:
    batch = studies("test", 5)
    inputs = collate(batch, INFO, reads=fitted.card.reads)
    reports = [prediction.report or "" for prediction in fitted.predict(inputs)]
    answers = fitted.attention(inputs, reports)
    assert len(answers) == (len(batch) if fitted.has_attention else 0)
    for study, report, answer in zip(batch, reports, answers, strict=False):
        weights, views = answer.weights, [view in study.images for view in INFO.image_modalities]
        assert len(answer.words) == len(weights)
        assert bool(answer.words) == bool(report)
        assert weights.shape[1] == len(views)
        assert np.isfinite(weights).all()
        assert (weights >= 0).all()
        assert np.allclose(weights.sum((1, 2, 3)), 1.0, atol=1e-4)
        assert not weights[:, [not here for here in views]].any()
    blind = collate(batch, INFO, reads=frozenset())
    assert all(not answer.weights.any() for answer in fitted.attention(blind, reports))


def test_saved_method_predicts_the_same(fitted: Method) -> None:
    fitted.save(fitted.folder / "checkpoint")
    copy = type(fitted)(fitted.config, INFO)
    copy.load(fitted.folder / "checkpoint")
    batch = studies("test", 5)
    assert str(predict(copy, batch)) == str(predict(fitted, batch))
    assert not [
        path for path in (fitted.folder / "checkpoint").iterdir() if path.suffix in {".pt", ".pkl", ".ckpt"}
    ]


@pytest.mark.parametrize("name", LEARNED)
def test_a_training_step_runs_in_mixed_precision(name: str) -> None:
    """A GPU trains in bf16-mixed unless the settings say otherwise."""
    method = registry.load("methods", name).create(INFO)
    train = studies("train", 12)
    method.prepare(method.artifacts(train))
    method.network.train()
    optimizer, _ = method.optimizer(4)
    for _ in range(2):  # the second step meets what the first one left behind
        with torch.autocast("cpu", torch.bfloat16):
            loss = method.losses(collate(train, INFO, reads=method.card.reads), targets_of(train))["loss"]
        loss.backward()
        assert loss.isfinite()
        gradients = [each.grad for each in method.network.parameters() if each.grad is not None]
        assert gradients
        assert all(each.isfinite().all() for each in gradients)
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", METHODS)
def test_card_is_complete(name: str) -> None:
    card = registry.load("methods", name).card
    assert card.name == name
    assert card.title
    assert set(card.opponents) <= set(card.variants)
    assert card.licence
    assert card.tasks
    assert card.reads <= MODALITIES
    if card.learned:
        assert card.paper
        assert {"tiny", "paper"} <= set(card.presets)
        assert card.deviations


@pytest.mark.parametrize("name", METHODS)
def test_every_preset_and_variant_builds_without_memory(name: str) -> None:
    import torch

    method_class = registry.load("methods", name)
    if not issubclass(method_class, TorchMethod):
        pytest.skip("no network")
    for preset in method_class.card.presets:
        for variant in (None, *method_class.card.variants):
            method = method_class.create(REFERENCE_INFO, variant=variant, preset=preset)
            with torch.device("meta"):
                method.prepare(method.reference_artifacts())
            assert sum(parameter.numel() for parameter in method.network.parameters()) > 0


@pytest.mark.parametrize("name", LEARNED)
def test_settings_that_train_nothing_sensible_are_refused(name: str) -> None:
    method_class = registry.load("methods", name)
    fields = method_class.Config.model_fields
    rates = {key for key in fields if key == "rates" or key.endswith("_rate")}
    assert rates, "a method has a learning rate"
    wrong: dict[str, object] = {key: [-1.0] * 5 if key == "rates" else -1.0 for key in rates}
    wrong |= {"training.precision": "fp4", "training.batch_size": 10**20, "training.epochs": -1}
    for key, value in wrong.items():
        with pytest.raises(HarnessError, match=key.partition(".")[0]):
            method_class.create(REFERENCE_INFO, preset="tiny", overrides={key: value})


@pytest.mark.parametrize("name", METHODS)
def test_describe_prints_size_cost_and_deviations(name: str) -> None:
    card = registry.load("methods", name).card
    facts = describe(name, "paper" if card.learned else "tiny")
    json.dumps(facts)
    assert {"method", "preset", "parameters", "trainable_parameters", "flops", "paper", "deviations"} <= set(
        facts
    )
    if card.learned:
        assert facts["parameters"] > 0
        assert facts["flops"] > 0


@pytest.mark.parametrize("name", METHODS)
def test_deviations_with_ids_can_be_told_apart(name: str) -> None:
    ids = [each.id for each in registry.load("methods", name).card.deviations if each.id]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", METHODS)
def test_a_variant_stands_beside_its_own_published_figures(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters and FLOPs are counted for the variants that a paper prints figures of, seconds for each."""
    card = registry.load("methods", name).card
    assert set(card.published_of_variants) <= set(card.variants)
    count = size._cost
    for variant in card.variants:
        counted = variant in card.published_of_variants
        monkeypatch.setattr(size, "_cost", count if counted else lambda method: {})
        facts = describe(f"{name}:{variant}", "paper" if card.learned else "tiny")
        assert facts["paper"] == dict(card.published_of_variants.get(variant, {}))


@pytest.mark.parametrize("name", METHODS)
def test_unknown_preset_and_variant_are_named(name: str) -> None:
    method_class = registry.load("methods", name)
    with pytest.raises(UnknownNameError, match="no-such-variant"):
        method_class.create(INFO, variant="no-such-variant")
    if method_class.card.learned:
        with pytest.raises(UnknownNameError, match="no-such-preset"):
            method_class.create(INFO, preset="no-such-preset")


@pytest.fixture(scope="module", params=METRICS)
def metric(request: pytest.FixtureRequest) -> Metric:
    made = registry.load("metrics", request.param)()
    if made.unavailable():
        pytest.skip(made.unavailable())
    return made


def examples(n: int = 12) -> tuple[list[JointPrediction], list[Reference]]:
    """Predictions for every task, some right and some wrong, and their references."""
    rng = np.random.default_rng(3)
    references, predictions = [], []
    for i in range(n):
        labels = np.array([i % 2, i % 3 == 0, i % 5 == 0], dtype=np.float32)
        image, generated = (
            {view: rng.integers(0, 255, (40, 40, 1), dtype=np.uint8) for view in ("frontal", "lateral")}
            for _ in range(2)
        )
        references.append(Reference(f"s{i}", f"p{i}", " ".join(SENTENCES[i % 3 :]), labels, image))
        answer = SENTENCES[i % 4], rng.random(3).astype(np.float32), generated
        predictions.append(JointPrediction(*answer, apart=Prediction(*answer)))
    return predictions, references


def scored(metric: Metric, n: int = 12) -> np.ndarray:
    """Statistics of the examples."""
    predictions, references = examples(n)
    return metric.fitted(predictions, references).statistics(predictions, references)


def plain_values(metric: Metric, study: Prediction | Reference) -> object:
    """What a user who calls a metric has of a study."""
    if metric.task is Task.REPORT:
        return study.report
    if metric.task is Task.DIAGNOSE:
        return study.probabilities if isinstance(study, Prediction) else study.labels
    return study.images[metric.view]


def test_a_metric_can_be_called_alone(metric: Metric) -> None:
    predictions, references = examples()
    fitted, statistics = metric.fitted(predictions, references), scored(metric)
    ours, theirs = predictions, references
    if metric.plain:
        ours, theirs = ([plain_values(metric, study) for study in side] for side in (predictions, references))
    result = fitted(ours, theirs, [reference.patient_id for reference in references])
    assert result.n == 12
    assert result.signature == fitted.signature
    assert np.array_equal(result.statistics, statistics)
    expected = fitted.values(statistics, np.ones((1, 12)))
    for output in metric.outputs:
        assert np.allclose(result[output.name], expected[output.name], equal_nan=True)
    with pytest.raises(UnknownNameError, match="no value 'nothing'"):
        result["nothing"]
    found = harness.intervals(result, 20)
    assert list(found) == [output.name for output in metric.outputs]
    assert all(each.n == 12 for each in found.values())


@pytest.mark.parametrize("name", METRICS)
def test_the_class_of_a_metric_is_a_name_of_the_package(name: str) -> None:
    registered = registry.load("metrics", name)
    assert registered.__name__ in metrics.__all__
    assert getattr(metrics, registered.__name__) is registered


def test_a_metric_refuses_what_it_cannot_score() -> None:
    with pytest.raises(HarnessError, match="1 predictions for 2 references"):
        metrics.Bleu()(["a"], ["a", "b"])
    with pytest.raises(HarnessError, match="0 predictions for 0 references"):
        metrics.Bleu()([], [])
    with pytest.raises(HarnessError, match=r"prediction 1 is None, .*give a list of texts"):
        metrics.Bleu()(["a", None], ["a", "b"])
    with pytest.raises(HarnessError, match=r"reference 0 is a str, .*give numbers"):
        metrics.Ece()([[0.5]], ["a"])
    with pytest.raises(HarnessError, match="give uint8 images"):
        metrics.MsSsim()(np.zeros((1, 8, 8)), np.zeros((1, 8, 8)))
    with pytest.raises(HarnessError, match="give Prediction and Reference objects"):
        metrics.CoarseAlignment()(np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8), np.uint8))
    with pytest.raises(HarnessError, match="1 patients for 2 studies"):
        metrics.Bleu()(["a", "b"], ["a", "b"], ["p"])


def test_statistics_are_finite_rows(metric: Metric) -> None:
    statistics = scored(metric)
    assert statistics.dtype == np.float64
    assert statistics.ndim == 2
    assert statistics.shape[0] == 12
    assert np.isfinite(statistics).all()


def test_values_are_vectorised_and_within_bounds(metric: Metric) -> None:
    statistics = scored(metric)
    weights = np.random.default_rng(0).multinomial(12, [1 / 12] * 12, size=15).astype(float)
    found = metric.values(statistics, weights)
    noise = [output.raised_by for output in metric.outputs if output.raised_by]
    assert list(found) == [*(output.name for output in metric.outputs), *noise]
    order = np.random.default_rng(1).permutation(12)
    shuffled = metric.values(statistics[order], weights[:, order])
    for output in metric.outputs:
        assert found[output.name].shape == (15,)
        low, high = output.bounds
        defined = found[output.name][~np.isnan(found[output.name])]
        assert len(defined) > 0
        assert ((defined >= low - 1e-9) & (defined <= high + 1e-9)).all()
        one_by_one = [metric.values(statistics, line[None])[output.name][0] for line in weights]
        assert np.allclose(found[output.name], one_by_one, rtol=1e-9, atol=1e-9, equal_nan=True)
        assert np.allclose(found[output.name], shuffled[output.name], rtol=1e-9, atol=1e-9, equal_nan=True)
    if isinstance(metric, JointMetric):
        with pytest.raises(TypeError, match="no function of summed statistics"):
            metric.reduce(statistics)
    else:
        grid = metric.reduce((weights @ statistics).reshape(3, 5, -1))
        for output in metric.outputs:
            assert grid[output.name].shape == (3, 5)
            assert np.allclose(grid[output.name].ravel(), found[output.name], equal_nan=True)


@pytest.mark.parametrize("name", METRICS)
def test_metric_keeps_the_promises_of_its_base_class(name: str) -> None:
    metric_class = registry.load("metrics", name)
    assert issubclass(metric_class, Metric)
    assert not metric_class.__abstractmethods__
    metric = metric_class()
    assert metric.name == name
    assert isinstance(metric.task, Task)
    assert len({output.name for output in metric.outputs}) == len(metric.outputs) > 0
    assert metric.group in ("report text", "report findings", "diagnosis", "images")
    flags = (metric.by_default, metric.tokenized, metric.recentred, metric.completes)
    assert all(isinstance(flag, bool) for flag in flags)
    assert metric.tokenized == ("tokenizer" in inspect.signature(metric_class).parameters)
    assert metric.resamples is None or metric.resamples > 0
    reason = metric.unavailable()
    assert reason is None or (reason and "\n" not in reason)


def test_the_list_of_metrics_says_direction_range_and_unit_of_every_number() -> None:
    rows = listing("metrics")
    assert [row["name"] for row in rows] == list(METRICS)
    units = {output["name"]: output.get("unit") for row in rows for output in row["outputs"]}
    assert all(units.values())
    odd = {name: unit for name, unit in units.items() if unit != "score"}
    assert odd["words_mean"] == "words"
    assert odd["nll"] == "nats"
    assert odd["fid_lite0"] == odd["kid_lite0"] == odd["fjd_lite0"] == "squared distance"
    for output in (output for row in rows for output in row["outputs"]):
        assert output["higher_is_better"] in (True, False, None)
        low, high = output["bounds"]
        assert low is None or high is None or low < high
        # What has no bound above but is on a scale of its own is an index, not a share.
        assert (low, high) != (None, None) or output["name"].startswith(("kid_", "radcliq_"))


def test_remarks_name_outputs_of_the_metric(metric: Metric) -> None:
    remarks = metric.remarks(scored(metric))
    assert set(remarks) <= {output.name for output in metric.outputs}
    assert all(line and "\n" not in line for line in remarks.values())


class Words(Metric):
    """As little as a metric plugin needs: six members."""

    name = "words"
    task = Task.REPORT
    outputs = (MetricOutput("words", bounds=(0.0, float("inf"))),)
    signature = "words|v:1"

    def statistics(self, predictions: Sequence[Prediction], references: Sequence[Reference]) -> Statistics:
        return np.array([[len((one.report or "").split()), 1.0] for one in predictions])

    def reduce(self, totals: Statistics) -> dict[str, np.ndarray]:
        return {"words": mean_of(totals)}


def test_a_metric_plugin_needs_six_members_and_gets_defaults() -> None:
    metric = Words()
    assert metric.unavailable() is None
    assert metric.group == "report text"
    assert metric.by_default
    assert not any((metric.tokenized, metric.recentred, metric.completes, metric.resamples))
    statistics = metric.statistics([Prediction("a b c"), Prediction("a")], [])
    assert metric.remarks(statistics) == {}
    assert metric.values(statistics, np.array([[1.0, 1.0], [0.0, 2.0]]))["words"].tolist() == [2.0, 1.0]
    with pytest.raises(TypeError, match="abstract"):
        type("Lacking", (Metric,), {"name": "lacking"})()


def test_signature_names_the_family_and_a_version(metric: Metric) -> None:
    family, *fields = metric.signature.split("|")
    assert family
    assert any(field.startswith("v:") for field in fields)
    if metric.tokenized:
        assert any(field == "tok:r2gen-iu" for field in fields)
        assert type(metric)(tokenizer="whitespace").signature != metric.signature


OPTIONS = [
    MetricOptions(tokenizer, words, uncertain, multilabel)
    for tokenizer in (None, *PROFILES)
    for words in (None, 60)
    for uncertain in (None, "positive", "negative", "ignored")
    for multilabel in (None, True, False)
]


@pytest.mark.parametrize("name", METRICS)
def test_signatures_keep_their_grammar_under_all_options(name: str) -> None:
    signatures = {registry.make_metric(name, options).signature for options in OPTIONS}
    for each in signatures:
        assert re.fullmatch(SIGNATURE, each), each
        assert each.partition("|")[0] == name
    samples = ReportSamples.of(4, None, replace(INFO, label_names=LABELS))
    drawn = samples.metric(registry.make_metric(name))
    assert re.fullmatch(SIGNATURE, drawn.signature), drawn.signature


@pytest.mark.parametrize(
    "text",
    [
        "bleu",
        "bleu|",
        "bleu|order",
        "bleu|order:",
        "|order:4",
        "bleu|order:4|",
        "bleu|fit:real pairs",
        "bleu|fit:real\npairs",
        "bleu|v:1\n",
        "bleu|v:é",
        "bleu|v:'1'",
        "bleu|v:<b>",
        "bleu|v:" + "1" * 61,
    ],
)
def test_what_is_no_signature(text: str) -> None:
    assert not re.fullmatch(SIGNATURE, text)


@pytest.mark.parametrize("name", DATASETS)
def test_dataset_fulfils_its_info(name: str, tmp_path: Path) -> None:
    root = TREES[name](tmp_path) if name in TREES else None
    dataset = registry.load("datasets", name).open(root)
    info = dataset.info
    assert info.name == name
    assert info.fingerprint
    assert info.licence
    patients: dict[str, str] = {}
    for split in ("train", "val", "test"):
        studies_of = dataset.studies(split)
        assert len({study.id for study in studies_of}) == len(studies_of) > 0
        for study in studies_of:
            assert patients.setdefault(study.patient_id, split) == split, "a patient in two splits"
            assert study.modalities <= set(info.modalities)
            assert study.split == split
        first = studies_of[0]
        for image in first.images.values():
            assert image.dtype == np.uint8
            assert image.shape == (info.image_size, info.image_size, info.channels)
        if info.label_names:
            assert first.labels.shape == (len(info.label_names),)


@pytest.mark.process
def test_listing_names_imports_no_plugin(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "import sys; from harness.core import registry as r; "
        "r.names('methods'); sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_page_says_of_each_metric_what_it_measures_where_it_is_from_and_its_signature() -> None:
    page = (Path(__file__).parents[1] / "docs" / "metrics.md").read_text(encoding="utf-8")
    section = page.partition("## Every metric: source, weights, licence, signature")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in section.splitlines() if line.startswith("| `")]
    assert all(len(row) == 6 and all(cell.strip() for cell in row) for row in rows)
    signatures = {row[0].strip(" `"): row[5].strip(" `").replace("\\|", "|") for row in rows}
    assert list(signatures) == list(METRICS)
    for name, written in signatures.items():
        pattern = ".+".join(map(re.escape, re.split(r"<[^<>|]+>", written)))
        metric = registry.make_metric(name)
        own = metric.signature
        if "prompt:absent" in own:  # without its folder a judge does not say how it decodes
            own = own.replace("prompt:absent", "prompt:absent|decode:greedy|dtype:float32")
        assert re.fullmatch(pattern, own), f"{name}: {own} is not {written}"
        absent = metric.unavailable() or ""
        if setting := re.search(r"HARNESS_(?!ALLOW)\w+", absent):
            assert setting[0] in section, f"{name} needs {setting[0]}"
