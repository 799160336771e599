"""KEDR: what reaches a prediction and what does not, training, presets, variants, priors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn

from harness.core.config import RunSettings
from harness.core.errors import HarnessError, UnavailableError
from harness.core.types import CHEXPERT_LABELS, DatasetInfo, Study, Task
from harness.evaluation.run import run_serially
from harness.method import size as costs
from harness.method.batching import collate, targets_of
from harness.method.contract import FitRun
from methods.kedr.averaging import AveragedAdam
from methods.kedr.card import VARIANTS
from methods.kedr.knowledge import (
    SHIPPED,
    Knowledge,
    TextEncoder,
    descriptions,
    encoder_folder,
    mean_cosine,
)
from methods.kedr.losses import centred, transport
from methods.kedr.method import KEDR, thinned
from tests.helpers import caption_trees
from tests.helpers.toys import Quiet

SKIN = ("nevus", "basal cell carcinoma", "melanoma", "miscellaneous", "seborrheic keratosis")
INFOS = {
    True: DatasetInfo(
        "chest",
        frozenset({Task.DIAGNOSE}),
        ("frontal", "lateral"),
        False,
        32,
        1,
        ("Cardiomegaly", "Edema", "No Finding"),
        True,
    ),
    False: DatasetInfo(
        "skin", frozenset({Task.DIAGNOSE}), ("clinical", "dermoscopic"), False, 32, 3, SKIN, False
    ),
}
SMALL: dict[str, Any] = {
    "image_size": 32,
    "width": 16,
    "grid": 1,
    "stages": (1, 2),
    "training.epochs": 2,
    "training.batch_size": 4,
    "training.val_every": 1,
}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only waits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _no_text_encoder(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Embeddings that cost nothing; a test that is about the text encoder asks for it with ``real_text``."""
    if "real_text" not in request.keywords and "real_text" not in request.fixturenames:
        monkeypatch.setattr(
            "methods.kedr.method.embedded",
            lambda texts, encoder: [[len(t) % 7, len(t) % 5, 1.0] for t in texts],
        )


@pytest.fixture
def real_text() -> None:
    """The text encoder itself."""


def studies(multilabel: bool, count: int = 6) -> list[Study]:
    """Every third study lacks its second modality."""
    noise = np.random.default_rng(0)
    info = INFOS[multilabel]
    size = len(info.label_names)
    made = []
    for row in range(count):
        views = info.image_modalities if row % 3 != 2 else info.image_modalities[:1]
        shape = (32, 32, info.channels)
        images = {view: noise.integers(0, 256, shape, dtype=np.uint8) for view in views}
        labels = np.eye(size, dtype=np.float32)[row % size]
        if multilabel and row == 1:
            labels = np.array([1, 1, 0], dtype=np.float32)
        made.append(Study(f"s{row}", f"p{row}", "train", images, labels=labels))
    return made


def small_bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    size = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 16}
    return BertModel(BertConfig(**size, num_hidden_layers=1, num_attention_heads=2), add_pooling_layer=False)


def method(multilabel: bool = True, variant: str | None = None, **overrides: Any) -> KEDR:
    torch.manual_seed(0)
    made = KEDR.create(INFOS[multilabel], variant=variant, overrides=SMALL | overrides)
    made.prepare(made.artifacts(studies(multilabel)))
    made.network.eval()
    return made


def probabilities(made: KEDR, batch: list[Study], **options: Any) -> np.ndarray:
    return np.stack([p.probabilities for p in made.predict(collate(batch, made.info, **options))])


# ---------------------------------------------------------------- what reaches a prediction


@pytest.mark.parametrize("multilabel", [True, False])
def test_predictions_do_not_depend_on_labels_or_company(multilabel: bool) -> None:
    made, batch = method(multilabel), studies(multilabel)
    together = probabilities(made, batch)
    alone = np.concatenate([probabilities(made, [study]) for study in batch])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    wrong = np.roll(np.eye(len(made.info.label_names), dtype=np.float32), 1, axis=0)
    relabelled = [
        Study(s.id, s.patient_id, s.split, s.images, labels=wrong[row % len(wrong)])
        for row, s in enumerate(batch)
    ]
    assert np.array_equal(together, probabilities(made, relabelled))


@pytest.mark.parametrize("multilabel", [True, False])
@pytest.mark.parametrize("slot", [0, 1])
def test_content_of_an_absent_modality_has_no_influence(multilabel: bool, slot: int) -> None:
    made = method(multilabel)
    name = made.info.image_modalities[slot]
    blank = collate(studies(multilabel), made.info, dropped=name)
    full = collate(studies(multilabel), made.info)
    peeking = collate(studies(multilabel), made.info, dropped=name)
    peeking.images[name] = full.images[name]
    for first, second, third in zip(
        made.predict(blank), made.predict(peeking), made.predict(full), strict=True
    ):
        assert np.array_equal(first.probabilities, second.probabilities)
        assert np.isfinite(third.probabilities).all()
    assert not np.allclose(probabilities(made, studies(multilabel)[:2]), made.predict(blank)[0].probabilities)


def test_every_modality_that_is_there_counts() -> None:
    made = method()
    whole = probabilities(made, studies(True)[:2])
    for view in ("frontal", "lateral"):
        assert not np.allclose(whole, probabilities(made, studies(True)[:2], dropped=view), atol=1e-7)


def test_exclusive_classes_sum_to_one_and_findings_need_not() -> None:
    np.testing.assert_allclose(probabilities(method(False), studies(False)).sum(1), 1.0, atol=1e-12)
    findings = probabilities(method(True), studies(True))
    assert ((findings > 0) & (findings < 1)).all()
    assert not np.allclose(findings.sum(1), 1.0)


def test_prediction_is_repeatable_and_draws_no_random_numbers() -> None:
    made = method()
    state = torch.get_rng_state()
    assert np.array_equal(probabilities(made, studies(True)), probabilities(made, studies(True)))
    assert torch.equal(state, torch.get_rng_state())


def test_a_study_without_any_modality_gets_probabilities() -> None:
    bare = Study("bare", "bare", "test", {})
    assert np.isfinite(probabilities(method(), [bare])).all()


def test_one_modality_of_a_dataset_is_enough() -> None:
    info = DatasetInfo("one", frozenset({Task.DIAGNOSE}), ("frontal",), False, 32, 1, ("Edema", "Fracture"))
    made = KEDR.create(info, overrides=SMALL)
    made.prepare({"embeddings": [[1.0, 0.0], [0.0, 1.0]]})
    one = [Study("a", "a", "test", {"frontal": np.full((32, 32, 1), 90, dtype=np.uint8)})]
    assert made.predict(collate(one, info))[0].probabilities.shape == (2,)


def test_latents_are_the_features_of_the_branches_that_a_study_has() -> None:
    made, batch = method(), studies(True)
    latents = made.latents(collate(batch, made.info))
    assert list(latents) == ["specific frontal", "specific lateral", "shared"]
    assert np.isfinite(latents["specific lateral"]).all(axis=1).tolist() == [True, True, False] * 2
    features = made.read(collate(batch, made.info)).features
    np.testing.assert_allclose(latents["shared"], features[2].numpy(), atol=1e-5)
    assert np.isfinite(latents["shared"]).all()


def test_every_branch_has_a_confidence_also_where_its_modality_is_absent() -> None:
    made = method()
    confidences = made.confidences(collate(studies(True), made.info))
    assert list(confidences) == ["frontal", "lateral", "shared"]
    for values in confidences.values():
        assert ((values > 0) & (values < 1)).all()
    assert confidences["lateral"][2] == confidences["lateral"][5]  # a branch of zeros, whatever the study
    assert len(set(confidences["lateral"].tolist())) == 5
    assert method(variant="no-confidence").confidences(collate(studies(True), made.info)) == {}


def test_confidence_of_an_absent_branch_is_learned_from_complete_studies() -> None:
    made = method(False, modality_dropout=0.0, dropout=0.0)
    complete = [study for study in studies(False) if len(study.images) == 2]
    inputs, targets = collate(complete, made.info), targets_of(complete)
    optimizer = torch.optim.Adam(made.network.parameters(), 0.01)
    for _ in range(150):
        optimizer.zero_grad()
        made.losses(inputs, targets)["conf"].backward()
        optimizer.step()
    confidence, logits = made.network.of_absent(1)
    share = targets.labels.mean(0)  # all that is known without an image
    torch.testing.assert_close(logits.softmax(1)[0], share, atol=0.05, rtol=0)
    expected = (share * logits.softmax(1)[0]).sum()
    assert confidence.item() == pytest.approx(expected.item(), abs=0.05)


@pytest.mark.parametrize("slot", [0, 1])
def test_a_batch_without_a_modality_moves_no_statistics_of_its_tower(slot: int) -> None:
    made = method(False, vision="lite0", augment=False, specific="none", keep_features=False, image_size=64)
    made.network.train()
    name = made.info.image_modalities[slot]
    before = {key: buffer.clone() for key, buffer in made.network.vision.named_buffers()}
    batch = [study for study in studies(False) if len(study.images) == 2]
    made.losses(collate(batch, made.info, dropped=name), targets_of(batch))["loss"].backward()
    moved = {
        key for key, buffer in made.network.vision.named_buffers() if not torch.equal(buffer, before[key])
    }
    assert moved
    assert all(key.startswith(f"towers.{1 - slot}.") for key in moved)


# ---------------------------------------------------------------- training


def gradients(made: KEDR) -> dict[str, Tensor]:
    made.network.train()
    losses = made.losses(
        collate(studies(made.info.multilabel), made.info), targets_of(studies(made.info.multilabel))
    )
    losses["loss"].backward()
    return {name: p.grad for name, p in made.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("multilabel", [True, False])
@pytest.mark.parametrize("variant", [None, *VARIANTS])
def test_variant_takes_a_training_step(variant: str | None, multilabel: bool) -> None:
    made = method(multilabel, variant)
    batch = studies(multilabel)
    inputs, targets = collate(batch, made.info), targets_of(batch)
    optimizer, schedule = made.optimizer(4)
    made.network.train()
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    losses = made.losses(inputs, targets)
    losses["loss"].backward()
    optimizer.step()
    schedule.step()
    assert all(torch.isfinite(value) for value in losses.values())
    moved = {name for name, p in made.network.named_parameters() if not torch.equal(p, before[name])}
    assert any(name.startswith("classifier.") for name in moved)
    assert any(name.startswith("vision.project") for name in moved)
    assert (losses["align"] > 0) == (variant not in {"no-ked", "no-ot"})
    assert (losses["orth"] > 0) == (variant != "no-ked")
    assert (losses["conf"] > 0) == (variant not in {"no-confidence", "no-cad"})


def test_gradients_reach_every_part_and_no_frozen_one() -> None:
    found = gradients(method(modality_dropout=0.0))
    for part in (
        "vision.project",
        "specific",
        "shared",
        "confidence",
        "fusion",
        "classifier.",
        "classifiers",
    ):
        assert any(name.startswith(part) and grad.abs().sum() > 0 for name, grad in found.items()), part
    assert not any("backbone" in name or "knowledge" in name for name in found)
    learning = gradients(method(modality_dropout=0.0, anchored=False))
    assert learning["knowledge.project.weight"].abs().sum() > 0


def test_loss_weights_start_as_a_sum_over_findings() -> None:
    start = torch.full((2,), 3.0).log()
    torch.testing.assert_close(method(True).network.weights.detach(), start)
    assert (method(False).network.weights == 0).all()


def test_loss_weights_follow_their_equation() -> None:
    made = method(modality_dropout=0.0, dropout=0.0, weight_prior=0.0)
    inputs, targets = collate(studies(True), made.info), targets_of(studies(True))
    with torch.no_grad():
        made.network.weights.copy_(torch.tensor([0.5, -0.25]))
    losses = made.losses(inputs, targets)
    expected = losses["align"] + losses["orth"] + np.exp(0.5) * losses["conf"] + np.exp(-0.25) * losses["cls"]
    torch.testing.assert_close(losses["loss"], expected)
    losses["loss"].backward()
    expected = torch.stack([np.exp(0.5) * losses["conf"], np.exp(-0.25) * losses["cls"]]).detach()
    torch.testing.assert_close(made.network.weights.grad, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("variant", [None, *VARIANTS])
@pytest.mark.parametrize("multilabel", [True, False])
def test_probes_are_finite_and_loss_terms_add_up(variant: str | None, multilabel: bool) -> None:
    made, batch = method(multilabel, variant), studies(multilabel, 12)
    inputs, targets = collate(batch, made.info), targets_of(batch)
    losses = made.losses(inputs, targets)
    torch.testing.assert_close(sum(made.loss_terms(losses).values()), losses["loss"])
    with torch.no_grad():
        probes = made.probes(inputs, targets)
    parts = {probe.part for probe in probes}
    assert ("KED" in parts) == (variant not in {"no-ked", "no-ot"})
    assert ("CAD confidence" in parts) == (variant not in {"no-confidence", "no-cad"})
    assert all(np.isfinite(probe.value) for probe in probes)
    assert len({(probe.part, probe.quantity) for probe in probes}) == len(probes)


def strengths(made: KEDR) -> dict[str, float]:
    batch = studies(True, 12)
    with torch.no_grad():
        probes = made.probes(collate(batch, made.info), targets_of(batch))
    return {
        probe.quantity.split(":")[0]: (probe.value - probe.dead) / (probe.alive - probe.dead)
        for probe in probes
    }


def test_a_collapsed_prior_and_a_shared_branch_that_is_constant_are_seen() -> None:
    priors, margin = "mean cosine of two classes' priors", "cosine of shared features with a class's prior"
    assert strengths(method())[priors] == pytest.approx(1.0, abs=1e-3)
    made = method(anchored=False)
    with torch.no_grad():
        made.network.knowledge.project.weight.zero_()
    assert strengths(made)[priors] == pytest.approx(0.0, abs=1e-3)
    made = method()
    made.network.shared.forward = lambda x, present: torch.ones_like(x[:, 0]) * torch.arange(16)
    assert strengths(made)[margin] == pytest.approx(0.0, abs=1e-5)
    made.network.shared.forward = lambda x, present: torch.zeros_like(x[:, 0])
    unused = "change of the logits without the branch shared, relative to how they vary over studies"
    assert strengths(made)[unused] == 0.0
    # With the labels' own priors for shared features the alignment is what its reference says.
    own = made.network.knowledge(targets_of(studies(True, 12)).labels.argmax(1))
    made.network.shared.forward = lambda x, present: own
    assert strengths(made)[margin] > 0.5
    assert strengths(made)["studies of one class whose nearest prior is its own, share"] == 1.0


def test_fit_learns_drops_text_and_labels_and_survives_saving(tmp_path: Path) -> None:
    made = KEDR.create(INFOS[False], overrides=SMALL)
    (tmp_path / "training").mkdir()
    made.fit(studies(False, 12), studies(False, 4), FitRun(tmp_path / "training", "cpu", 0))
    assert made.network.knowledge is None
    assert made.network.classifiers is None
    made.save(tmp_path / "saved")
    assert "embeddings" not in (tmp_path / "saved" / "artifacts.json").read_text()
    copy = KEDR(made.config, made.info)
    copy.load(tmp_path / "saved")
    assert np.array_equal(probabilities(made, studies(False)), probabilities(copy, studies(False)))


def test_training_drops_at_most_one_of_two_modalities() -> None:
    present = torch.tensor([[True, True]] * 300 + [[True, False]] * 50)
    result = thinned(present, 0.5)
    assert torch.equal(result[300:], present[300:])
    assert result.any(1).all()
    for modality in (0, 1):
        assert 40 < int((~result[:300, modality]).sum()) < 110
    assert torch.equal(thinned(present, 0.0), present)


def test_studies_without_labels_are_an_error() -> None:
    bare = [Study("a", "a", "train", {})]
    with pytest.raises(HarnessError, match="without labels"):
        KEDR.create(INFOS[True], overrides=SMALL).artifacts(bare)


@pytest.mark.parametrize("vision", ["lite0", "resnet50"])
def test_trained_backbones_learn_on_augmented_images(vision: str) -> None:
    made = method(False, vision=vision, augment=True, specific="none", keep_features=False)
    found = gradients(made)
    for tower in (0, 1):
        names = [name for name in found if name.startswith(f"vision.towers.{tower}.network")]
        assert any(found[name].abs().sum() > 0 for name in names)


def test_averaging_optimiser_ends_at_the_mean_of_the_last_steps() -> None:
    plain, averaged = (nn.Parameter(torch.zeros(3)) for _ in range(2))
    adam = torch.optim.AdamW([plain], lr=0.1)
    optimizer = AveragedAdam([averaged], steps=5, share=0.4, lr=0.1)
    passed = []
    for step in range(5):
        for parameter in (plain, averaged):
            parameter.grad = torch.tensor([1.0, step - 2.0, 0.5 * step])
        adam.step()
        optimizer.step()
        passed.append(plain.detach().clone())
        if step < 4:
            assert torch.equal(averaged, plain)
    torch.testing.assert_close(averaged.detach(), (passed[3] + passed[4]) / 2)


# ---------------------------------------------------------------- priors and the text encoder


def test_shipped_priors_have_every_level_and_provenance() -> None:
    content = yaml.safe_load(SHIPPED.read_text())
    assert set(content["prompts"]) == {"none", "step-1", "step-2"}
    for group in content["groups"].values():
        for name, entry in group["classes"].items():
            assert set(entry) == {"none", "step-1", "step-2", "provenance"}, name
            assert "not clinically reviewed" in entry["provenance"]
            assert len({entry["none"], entry["step-1"], entry["step-2"]}) == 3


@pytest.mark.parametrize(
    "classes",
    [CHEXPERT_LABELS, SKIN, ("normal", "dry AMD", "PCV", "wet AMD"), ("no glaucoma", "glaucoma")],
)
@pytest.mark.parametrize("level", ["none", "step-1", "step-2"])
def test_every_dataset_has_a_description_per_class(classes: tuple[str, ...], level: str) -> None:
    texts = descriptions(classes, level)
    assert len(set(texts)) == len(classes)


def test_a_class_that_nobody_described_is_described_by_its_name_and_the_row_says_so() -> None:
    texts = descriptions(("Edema", "goitre"), "step-2")
    assert texts[0] == descriptions(("Edema",), "step-2")[0]
    assert "goitre" in texts[1]
    info = DatasetInfo("own", frozenset({Task.DIAGNOSE}), ("frontal",), False, 32, 1, ("goitre", "cyst"))
    made = KEDR.create(info, overrides=SMALL)
    assert "no authored description of goitre, cyst;" in made.remark
    own = [Study("a", "a", "train", {}, labels=np.eye(2, dtype=np.float32)[0])]
    assert len(made.artifacts(own)["embeddings"]) == 2
    assert KEDR.create(info, variant="no-ot", overrides=SMALL).remark == ""
    assert KEDR.create(INFOS[True], overrides=SMALL).remark == ""
    many = tuple(f"kind {number}" for number in range(9))
    info = DatasetInfo("many", frozenset({Task.DIAGNOSE}), ("frontal",), False, 32, 1, many)
    assert "kind 4 and 4 more;" in KEDR.create(info, overrides=SMALL).remark


def test_a_users_table_with_classes_of_its_own_has_a_row_that_says_how_they_are_described(
    tmp_path: Path,
) -> None:
    root = caption_trees.own(tmp_path / "data")

    def change(rows: list[dict[str, str]]) -> None:
        for number, row in enumerate(rows):
            row["labels"] = ("Cyst", "Goitre")[number % 2]

    caption_trees.rewrite(root, change)
    settings = RunSettings.of(
        methods=("kedr",),
        dataset="csv",
        root=root,
        metrics=("diagnosis",),
        missing=(),
        shuffled=False,
        store=tmp_path / "store",
        set={
            "csv": {"image_size": 32},
            "kedr": {key: value for key, value in SMALL.items() if key != "image_size"},
        },
    )
    rows, succeeded = run_serially(settings, Quiet())
    assert succeeded
    remark = "kedr: no authored description of Cyst, Goitre; their semantic priors are made from"
    assert any(row.detail.startswith(remark) for row in rows)


def test_a_file_of_priors_that_lacks_a_class_is_named_with_the_class(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("groups: {mine: {classes: {goitre: {step-2: a large thyroid}}}}")
    assert descriptions(("Goitre",), "step-2", str(own)) == ["a large thyroid"]
    with pytest.raises(HarnessError, match=r"own.yaml has no description of class 'goitre' at level none"):
        descriptions(("goitre",), "none", str(own))
    own.write_text("nonsense")
    with pytest.raises(HarnessError, match=r"own.yaml"):
        descriptions(("goitre",), "none", str(own))


def test_anchored_priors_have_the_angles_of_the_text_encoder_and_never_move(real_text: None) -> None:
    from methods.kedr.knowledge import embedded

    embeddings = embedded(descriptions(CHEXPERT_LABELS, "step-2"), "minilm")
    own = mean_cosine(torch.tensor(embeddings))
    assert own == pytest.approx(0.677, abs=0.001)
    for width in (16, 128, 512):
        priors = Knowledge({"embeddings": embeddings}, width, anchored=True)(torch.arange(14))
        assert mean_cosine(centred(priors)) == pytest.approx(own, abs=1e-4)
        assert not priors.requires_grad
    crowded = Knowledge({"embeddings": embeddings}, 8, anchored=True)(torch.arange(14))
    assert mean_cosine(centred(crowded)) == pytest.approx(own, abs=0.1)


def test_an_anchored_encoder_stays_as_it_is_and_one_that_learns_becomes_one_point(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = [[1, 5, 2], [1, 6, 7, 2], [1, 3, 4, 2]]
    cosines = {}
    for anchored in (True, False):
        torch.manual_seed(0)
        monkeypatch.setattr("methods.kedr.knowledge.BertModel", lambda config, **options: small_bert())
        knowledge = Knowledge({"tokens": tokens, "encoder": ""}, 16, anchored).train()
        shared = nn.Parameter(torch.randn(12, 16))
        mass = torch.eye(3).repeat(4, 1)
        learned = [p for p in knowledge.parameters() if p.requires_grad]
        assert bool(learned) != anchored
        optimizer = torch.optim.Adam([shared, *learned], 0.01)
        for _ in range(60):
            optimizer.zero_grad()
            transport(shared, knowledge(torch.arange(3)), mass, 0.1, 20, own_classes=anchored).backward()
            optimizer.step()
        cosines[anchored] = mean_cosine(centred(knowledge(torch.arange(3)))) - knowledge.own_cosine()
    assert abs(cosines[True]) < 0.01
    assert cosines[False] > 0.1


def test_prompting_levels_give_other_priors(real_text: None) -> None:
    made = [KEDR.create(INFOS[False], variant=v, overrides=SMALL) for v in (None, "no-cot", "cot-1")]
    found = [np.array(m.artifacts(studies(False))["embeddings"]) for m in made]
    assert found[0].shape == (5, 384)
    assert not np.allclose(found[0], found[1])
    assert not np.allclose(found[0], found[2])


def test_absent_text_encoder_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HARNESS_ALLOW_DOWNLOADS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(UnavailableError, match="neither a folder nor in the local cache"):
        encoder_folder("nobody/no-such-model")


def test_padding_does_not_change_a_description_embedding() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder([[1, 5, 6, 2], [1, 7, 2]], "")
    encoder.model = small_bert()
    encoder.eval()
    both = encoder(torch.tensor([0, 1]))
    torch.testing.assert_close(both[1:], encoder(torch.tensor([1])), atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------- size


def test_paper_preset_has_the_published_size_and_describe_says_so() -> None:
    facts = costs.describe("kedr", "paper")
    assert facts["parameters"] == pytest.approx(230e6, rel=0.01)
    assert facts["flops"] / 2 == pytest.approx(30.4e9, rel=0.03)
    assert facts["inference_flops"] / 2 == pytest.approx(9.5e9, rel=0.01)
    parts = facts["components"]
    without_confidence = sum(parts[name] for name in ("vision", "shared", "fusion", "classifier"))
    assert without_confidence == pytest.approx(93.2e6, rel=0.001)
    assert facts["inference_parameters"] == without_confidence + parts["confidence"]
    text = costs.render(facts)
    for line in (
        "parameters: 227.9 M; the paper prints 230.0",
        "multiply-adds: 31.0 G, training forward pass of one study; the paper prints 30.4",
        "inference parameters: 105.9 M; the paper prints 93.2",
        "inference multiply-adds: 9.5 G, inference forward pass of one study; the paper prints 9.5",
    ):
        assert line in text
