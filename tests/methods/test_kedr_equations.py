"""KEDR's equations: transport, orthogonality, confidence, co-attention, the fixed point and its gradient."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from methods.kedr.config import KEDRConfig
from methods.kedr.equilibrium import broyden, equilibrium
from methods.kedr.fusion import BoundedLinear, EquilibriumFusion
from methods.kedr.losses import (
    class_mass,
    confidence_error,
    contrastive,
    distances,
    orthogonality,
    sinkhorn,
    transport,
    true_class_probability,
)
from methods.kedr.vision import SharedEncoder, augmented

SOURCE = torch.tensor([0.2, 0.3, 0.1, 0.4], dtype=torch.float64)
TARGET = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)


def cost() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(4, 3, dtype=torch.float64) * 2


# ---------------------------------------------------------------- Eq. 7


def test_plan_has_the_marginals() -> None:
    plan = sinkhorn(cost(), SOURCE, TARGET, 0.1, 100)
    torch.testing.assert_close(plan.sum(1), SOURCE, atol=1e-6, rtol=0)
    torch.testing.assert_close(plan.sum(0), TARGET, atol=1e-12, rtol=0)
    assert (plan > 0).all()


@pytest.mark.parametrize("epsilon", [0.1, 1.0])
def test_plan_equals_pot(epsilon: float) -> None:
    ot = pytest.importorskip("ot")
    plan = sinkhorn(cost(), SOURCE, TARGET, epsilon, 2000)
    theirs = ot.sinkhorn(
        SOURCE, TARGET, cost(), epsilon, method="sinkhorn_log", numItermax=5000, stopThr=1e-12
    )
    torch.testing.assert_close(plan, theirs, atol=1e-8, rtol=0)


def test_cost_gradient_equals_finite_differences() -> None:
    def total(c: Tensor) -> Tensor:
        return (sinkhorn(c, SOURCE, TARGET, 0.2, 200) * c).sum()

    assert torch.autograd.gradcheck(total, (cost().requires_grad_(),), eps=1e-6, atol=1e-6)


def test_small_epsilon_approaches_the_exact_plan() -> None:
    ot = pytest.importorskip("ot")
    exact = torch.from_numpy(ot.emd(SOURCE.numpy(), TARGET.numpy(), cost().numpy()))
    torch.testing.assert_close(sinkhorn(cost(), SOURCE, TARGET, 0.005, 5000), exact, atol=1e-3, rtol=0)


def test_equal_priors_are_one_target_with_their_summed_mass() -> None:
    torch.manual_seed(0)
    shared, priors = torch.randn(4, 8), torch.randn(2, 8)
    owner = torch.tensor([0, 1, 1, 0])
    uniform = torch.full((4,), 0.25)
    apart = distances(shared, priors[owner])
    separate = (sinkhorn(apart, uniform, uniform, 0.1, 500) * apart).sum()
    merged = transport(shared, priors, torch.eye(2)[owner], 0.1, 500)
    torch.testing.assert_close(separate, merged, atol=1e-5, rtol=0)


def test_transport_pulls_shared_features_to_the_priors() -> None:
    torch.manual_seed(0)
    shared, priors = torch.randn(6, 8, requires_grad=True), torch.randn(3, 8)
    mass = torch.eye(3).repeat(2, 1)
    before = transport(shared, priors, mass, 0.1, 100)
    before.backward()
    after = transport((shared - 0.5 * shared.grad).detach(), priors, mass, 0.1, 100)
    assert after < before
    assert transport(priors, priors, torch.eye(3), 0.01, 500) < 1e-2


def test_mass_goes_to_a_studys_own_classes_where_the_plan_is_tied_to_them() -> None:
    torch.manual_seed(0)
    mass = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
    source, target = torch.full((4,), 0.25), mass.mean(0)
    plan = sinkhorn(torch.rand(4, 3), source, target, 0.1, 300, mass > 0)
    assert (plan[mass == 0] == 0).all()
    torch.testing.assert_close(plan.sum(1), source, atol=1e-4, rtol=0)
    torch.testing.assert_close(plan.sum(0), target, atol=1e-4, rtol=0)
    # Exchanged features: a free plan follows them at no cost, a tied one moves each to its own class.
    priors = torch.eye(3)
    exchanged = priors[[1, 2, 0]].clone().requires_grad_()
    assert transport(exchanged, priors, torch.eye(3), 0.01, 500) < 1e-2
    tied = transport(exchanged, priors, torch.eye(3), 0.01, 500, own_classes=True)
    assert tied > 1
    tied.backward()
    assert exchanged.grad is not None
    assert exchanged.grad.isfinite().all()
    moved = (exchanged - 0.5 * exchanged.grad).detach()
    assert transport(moved, priors, torch.eye(3), 0.01, 500, own_classes=True) < tied


def test_alignment_is_computed_in_float32_under_autocast() -> None:
    torch.manual_seed(0)
    priors = torch.randn(3, 32)
    shared = (priors + 0.01 * torch.randn(3, 32)).requires_grad_()

    def gradient_of(low: bool) -> tuple[Tensor, Tensor]:
        shared.grad = None
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            cost = distances(shared, priors)
            total = cost.diagonal().sum() + contrastive(shared, priors, torch.eye(3), 0.07)
        total.backward()
        assert shared.grad is not None
        return cost.detach(), shared.grad

    (plain, expected), (rounded, gradient) = gradient_of(False), gradient_of(True)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, plain)
    torch.testing.assert_close(gradient, expected)


def test_studies_without_a_class_carry_no_mass() -> None:
    torch.manual_seed(0)
    shared, priors = torch.randn(3, 8), torch.randn(2, 8)
    labels = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    mass = class_mass(labels, multilabel=True)
    assert mass.tolist() == [[0.5, 0.5], [0.0, 0.0], [0.0, 1.0]]
    rows = torch.tensor([0, 2])
    torch.testing.assert_close(
        transport(shared, priors, mass, 0.1, 50), transport(shared[rows], priors, mass[rows], 0.1, 50)
    )
    assert transport(shared, priors, torch.zeros(3, 2), 0.1, 50) == 0
    assert class_mass(labels[2:], multilabel=False).tolist() == [[0.0, 1.0]]


def test_contrastive_alignment_prefers_the_own_class() -> None:
    torch.manual_seed(0)
    priors = torch.randn(3, 16)
    right = contrastive(priors, priors, torch.eye(3), 0.07)
    wrong = contrastive(priors.roll(1, 0), priors, torch.eye(3), 0.07)
    assert right < 0.1 < wrong


# ---------------------------------------------------------------- Eq. 8 and 10-12


def test_orthogonality_is_zero_where_features_are_orthogonal() -> None:
    first = torch.tensor([[1.0, 0.0], [2.0, 0.0]])
    here = torch.tensor([True, True])
    assert orthogonality(first, torch.tensor([[0.0, 3.0], [0.0, -1.0]]), here) == 0
    assert orthogonality(first, -5 * first, here) == pytest.approx(1.0)
    mixed = torch.tensor([[0.0, 3.0], [9.0, 9.0]])
    assert orthogonality(first, mixed, torch.tensor([True, False])) == 0
    assert orthogonality(first, mixed, torch.tensor([False, False])) == 0


def test_true_class_probability_of_classes_and_findings() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    one = true_class_probability(logits, torch.tensor([[1.0, 0, 0], [0, 0, 1.0]]), multilabel=False)
    torch.testing.assert_close(one[:, 0], torch.stack([logits[0].softmax(0)[0], torch.tensor(1 / 3)]))
    many = true_class_probability(logits, torch.tensor([[1.0, 0, 0], [0, 1.0, 1.0]]), multilabel=True)
    expected = torch.stack([logits[0, 0].sigmoid(), torch.tensor(0.5), 1 - logits[0, 2].sigmoid()])
    torch.testing.assert_close(many[0], expected)


def test_confidence_is_taught_by_the_probability_and_not_the_reverse() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.eye(3)[[0, 1, 2, 0]]
    estimate = torch.full((4, 1), 0.5, requires_grad=True)
    here = torch.tensor([True, True, True, False])
    confidence_error(estimate, logits, labels, here, False).backward()
    truth = true_class_probability(logits, labels, False).detach()
    torch.testing.assert_close(estimate.grad[:3], 2 * (0.5 - truth[:3]) / 3)
    assert estimate.grad[3] == 0
    plain = torch.nn.functional.cross_entropy(logits[:3], labels[:3].argmax(1), reduction="mean")
    torch.testing.assert_close(logits.grad, torch.autograd.grad(plain, logits)[0])


# ---------------------------------------------------------------- Eq. 3-4


def test_co_attention_is_its_equations() -> None:
    torch.manual_seed(0)
    shared = SharedEncoder(KEDRConfig(width=8)).eval()
    x, both = torch.randn(3, 2, 8), torch.ones(3, 2, dtype=torch.bool)
    p1, p2 = shared.maps[0](x[:, 0]), shared.maps[1](x[:, 1])
    a = p1 * p2
    expected = torch.sigmoid(shared.gates[0](a)) * p1 + torch.sigmoid(shared.gates[1](a)) * p2
    torch.testing.assert_close(shared(x, both), expected)
    one = shared(x, torch.tensor([[True, False]] * 3))
    torch.testing.assert_close(one, torch.sigmoid(shared.gates[0].bias) * p1)
    assert (shared(x, ~both) == 0).all()


def test_augmentation_keeps_shape_and_range_and_is_per_study() -> None:
    torch.manual_seed(0)
    images = torch.rand(1, 3, 16, 16).expand(5, -1, -1, -1)
    result = augmented(images)
    assert result.shape == images.shape
    assert result.min() >= 0
    assert result.max() <= 1
    assert not torch.allclose(result[0], result[1])


# ---------------------------------------------------------------- Eq. 13-15


def fusion(width: int = 32, tolerance: float = 1e-5) -> tuple[EquilibriumFusion, list[Tensor]]:
    torch.manual_seed(0)
    made = EquilibriumFusion(width, 3, 0.9, 40, (tolerance, tolerance))
    return made, [torch.randn(5, width) for _ in range(3)]


def test_broyden_solves_a_linear_system() -> None:
    torch.manual_seed(0)
    matrix = 0.5 * torch.randn(6, 6, dtype=torch.float64) / 6**0.5
    offset = torch.randn(4, 6, dtype=torch.float64)
    found = broyden(lambda z: z @ matrix.T + offset, torch.zeros(4, 6, dtype=torch.float64), 40, 1e-10)
    exact = torch.linalg.solve(torch.eye(6, dtype=torch.float64) - matrix, offset.T).T
    torch.testing.assert_close(found.state, exact, atol=1e-8, rtol=0)
    assert (found.residual <= 1e-10).all()


def test_fused_state_is_a_fixed_point_and_convergence_is_recorded() -> None:
    made, features = fusion()
    with torch.no_grad():
        _, solution = made(features)
    assert (solution.residual <= 1e-5).all()
    assert ((solution.iterations > 0) & (solution.iterations < 40)).all()


@pytest.mark.parametrize("width", [16, 64, 256])
def test_solver_converges_also_without_a_branch_and_for_large_features(width: int) -> None:
    made, features = fusion(width, 1e-4)
    for given in ([features[0], features[1] * 0, features[2]], [10 * f for f in features]):
        with torch.no_grad():
            assert (made(given)[1].residual <= 1e-4).all()


def test_each_study_is_solved_for_itself() -> None:
    made, features = fusion()
    made.eval()
    with torch.no_grad():
        together, solution = made([f * torch.tensor([1, 0.01, 5, 1, 1])[:, None] for f in features])
        for row, scale in enumerate((1, 0.01, 5, 1, 1)):
            alone, single = made([f[row : row + 1] * scale for f in features])
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-5, rtol=1e-4)
            assert abs(int(single.iterations) - int(solution.iterations[row])) <= 1


def test_implicit_gradient_equals_the_unrolled_one() -> None:
    torch.manual_seed(0)
    weight = (0.4 * torch.randn(8, 8, dtype=torch.float64) / 8**0.5).requires_grad_()
    offset = torch.randn(3, 8, dtype=torch.float64, requires_grad=True)

    def f(z: Tensor) -> Tensor:
        return torch.tanh(z @ weight.T + offset)

    z, _ = equilibrium(f, torch.zeros(3, 8, dtype=torch.float64), 60, 1e-12)
    implicit = torch.autograd.grad(z.square().sum(), (weight, offset))
    unrolled = torch.zeros(3, 8, dtype=torch.float64)
    for _ in range(300):
        unrolled = f(unrolled)
    torch.testing.assert_close(z, unrolled, atol=1e-9, rtol=0)
    exact = torch.autograd.grad(unrolled.square().sum(), (weight, offset))
    for ours, theirs in zip(implicit, exact, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=0)


def test_fusion_gradient_equals_finite_differences() -> None:
    made, features = fusion(8, 1e-12)
    made.double().eval()
    inputs = tuple(f[:2].double().requires_grad_() for f in features)

    def fused(*given: Tensor) -> Tensor:
        start = torch.zeros(2, 32, dtype=torch.float64)
        return equilibrium(made.operator(list(given)), start, 60, 1e-13)[0][:, -8:]

    assert torch.autograd.gradcheck(fused, inputs, eps=1e-6, atol=1e-5, check_undefined_grad=False)


def test_fixed_point_equals_torchdeq() -> None:
    torchdeq = pytest.importorskip("torchdeq")
    made, features = fusion(16)
    operator = made.operator(features)
    start = torch.zeros(5, 64)
    with torch.no_grad():
        ours = broyden(operator, start, 40, 1e-6).state
        solver = torchdeq.solver.get_solver("broyden")
        theirs, _, _ = solver(operator, start, max_iter=60, tol=1e-6, stop_mode="rel")
    torch.testing.assert_close(ours, theirs.view_as(ours), atol=1e-4, rtol=1e-3)


def test_bounded_map_never_stretches_by_more_than_its_bound() -> None:
    torch.manual_seed(0)
    layer = BoundedLinear(16, 0.9)
    with torch.no_grad():
        layer.weight.mul_(20)
    for _ in range(200):
        weight = layer.scaled()
    assert float(torch.linalg.matrix_norm(weight, 2)) == pytest.approx(0.9, rel=1e-3)
    layer.eval()
    assert torch.equal(layer.scaled(), layer.scaled())
    with torch.no_grad():
        layer.weight.mul_(1e-4)
    assert torch.equal(layer.scaled(), layer.weight)
