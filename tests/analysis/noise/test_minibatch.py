"""Mini-batches: every number against explicit autograd over all pairs, and the laws that tie it to exact moments.

The oracle takes from the code which samples make up a batch, and the directions of the control; `test_pairs.py` and
`test_agreement.py` ask whether standard errors are right.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import BatchNoise, MinibatchNoise, Objective, gradient_noise, minibatch_noise
from analysis.evidence import Status
from analysis.noise import batch_products
from tests.analysis.noise import oracle
from tests.analysis.noise.test_pairs import by_loop, design
from tests.analysis.noise.untouched import check_left_as_found
from tests.cases import CASES, IDS, Case
from tests.compare import assert_close

FIELDS = ("variance", "signal", "cosine", "sign_agreement", "descent_cosine")


def gradients_of(model: nn.Module, loss_fn: Any, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss_fn(model(x), y), parameters, allow_unused=True)
    return {name: torch.zeros_like(w) if g is None else g for name, w, g in zip(names, parameters, found, strict=True)}


def kernels(case: Case, size: int, rho: float, seed: int) -> dict[str, list[Any]]:
    """Return name to the function of two batches under each kind, [kind][..., M, M], by definition."""
    model, loss_fn, batches = case.make()
    model.eval()
    x, y = (torch.cat(column) for column in zip(*batches, strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    chosen = order[: len(x) // size * size].view(-1, size)
    raw = [gradients_of(model, loss_fn, x[rows], y[rows]) for rows in chosen]
    stacked = {name: torch.stack([one[name] for one in raw]) for name in raw[0]}
    found: dict[str, list[Any]] = {name: [] for name in (*FIELDS, "layer_cosine")}
    for kept in oracle.projected(model, stacked, seed).values():
        layers = list(oracle.by_layer(kept).values())
        flat = torch.cat(layers, 1)
        descents = []
        for number, rows in enumerate(chosen):
            twin = copy.deepcopy(model)
            with torch.no_grad():
                for name, parameter in twin.named_parameters():
                    parameter += rho * kept[name][number] / flat[number].norm()
            descent = gradients_of(twin, loss_fn, x[rows], y[rows])
            descents.append(torch.cat([piece.flatten() for piece in descent.values()]))
        found["variance"].append(table(flat, lambda a, b: (a - b).square().sum() / 2))
        found["signal"].append(table(flat, lambda a, b: a @ b))
        found["cosine"].append(table(flat, cosine))
        found["layer_cosine"].append(torch.stack([table(layer, cosine) for layer in layers]))
        found["sign_agreement"].append(table(flat, equal_signs))
        found["descent_cosine"].append(table(torch.stack(descents), cosine))
    return found


def table(rows: Tensor, function: Any) -> Tensor:
    return torch.stack([torch.stack([function(a, b) for b in rows]) for a in rows])


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return a @ b / (a.norm() * b.norm())


def equal_signs(a: Tensor, b: Tensor) -> Tensor:
    counted = (a != 0) & (b != 0)
    return ((a > 0) == (b > 0))[counted].double().mean()


def check(found: MinibatchNoise, expected: dict[str, list[Any]], is_pair: Tensor) -> None:
    for place, kind in enumerate(oracle.KINDS):
        noise = getattr(found, kind)
        for name in FIELDS:
            got = [getattr(noise, name)[0], getattr(noise, f"{name}_standard_error")[0]]
            scale = float(expected["variance"][place].abs().max()) if name in {"variance", "signal"} else 1.0
            # an error is the root of a difference of numbers of order 1, each rounded to some 1e-15
            assert_close(got, by_loop(expected[name][place], is_pair), absolute=1e-7 * scale)
            assert_close(got[0], by_loop(expected[name][place], is_pair)[0], absolute=1e-12 * scale)
        layers = [by_loop(kernel, is_pair) for kernel in expected["layer_cosine"][place]]
        got = [noise.layer_cosine[0].tolist(), noise.layer_cosine_standard_error[0].tolist()]
        assert_close(got, list(zip(*layers, strict=True)), absolute=1e-7)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_every_number_is_that_of_the_definition(case: Case) -> None:
    found = minibatch_noise(Objective(*case.make()), [2], rho=0.3, draws=6, seed=5)
    check(found, kernels(case, 2, 0.3, 5), design(6))


def test_batches_held_together_are_compared_and_no_others() -> None:
    found = minibatch_noise(Objective(*CASES[1].make()), [2], rho=0.3, draws=6, seed=5, held=2)
    check(found, kernels(CASES[1], 2, 0.3, 5), design(2, 2, 2))
    odd = minibatch_noise(Objective(*CASES[1].make()), [2], draws=5, held=2)
    assert odd.num_batches.tolist() == [4]  # the fifth would have none to be compared with


def test_few_batches_are_held_where_weights_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if the budget of memory is not kept: 4 D numbers a batch, and D is 51."""
    monkeypatch.setattr(batch_products, "HELD_NUMBERS", 3 * 4 * 51)
    objective = Objective(*CASES[1].make())
    assert objective.num_parameters == 51
    found, asked = (minibatch_noise(objective, [2], draws=6, held=held) for held in (None, 3))
    assert found == asked
    assert found != minibatch_noise(objective, [2], draws=6, held=6)


def test_gains_are_differences_over_the_same_pairs() -> None:
    found = minibatch_noise(Objective(*CASES[2].make()), [2], rho=0.3, draws=6, seed=5)
    expected = kernels(CASES[2], 2, 0.3, 5)
    for name, (more, less) in {
        "centralized_gain": (1, 0),
        "control_gain": (2, 0),
        "gain_beyond_control": (1, 2),
    }.items():
        gain = getattr(found, name)
        for what in ("cosine", "descent_cosine"):
            got = [getattr(gain, what)[0], getattr(gain, f"{what}_standard_error")[0]]
            assert_close(got, by_loop(expected[what][more] - expected[what][less], design(6)), absolute=1e-7)


def test_all_samples_one_by_one_give_the_moments_of_gradient_noise() -> None:
    """Fails with a divisor N in the place of N - 1, or a signal that keeps tr(Sigma) / N: pairs need neither."""
    objective = Objective(*CASES[2].make())
    found, exact = minibatch_noise(objective, [1], draws=12), gradient_noise(objective)
    for kind in oracle.KINDS:
        total = getattr(exact, kind).total
        assert float(getattr(found, kind).variance[0]) == pytest.approx(total.trace, rel=1e-12)
        assert float(getattr(found, kind).signal[0]) == pytest.approx(total.signal, abs=1e-12 * total.trace)
        assert getattr(found, kind).noise_scale == pytest.approx(total.noise_scale, rel=1e-9)


@pytest.mark.parametrize("size", [3, 6])
def test_disjoint_batches_need_no_correction_for_finite_data(size: int) -> None:
    """At B = N/2, too, half the squared distance is tr(Sigma) / B on average, to 4 standard errors of 150 cuts."""
    objective = Objective(*CASES[0].make())
    exact = gradient_noise(objective).raw.total
    found = minibatch_noise(objective, [size], draws=150 * (12 // size), rho=0.0).raw
    for name, truth in (("variance", exact.trace / size), ("signal", exact.signal)):
        error = float(getattr(found, f"{name}_standard_error"))
        assert float(getattr(found, name)) == pytest.approx(truth, abs=4 * error)
        assert error < 0.1 * exact.trace / size
    # with the factor of a batch about the mean of these data it would be far off
    assert (size / 12) * exact.trace / size > 4 * float(found.variance_standard_error)


def test_single_precision_is_near_double() -> None:
    """Cosines to a few roundings of the gradients; their variance is a difference, of the size of the signal here."""
    single, double = (
        minibatch_noise(Objective(*CASES[2].make(dtype)), [2], draws=6) for dtype in (torch.float32, torch.float64)
    )
    for kind in oracle.KINDS:
        for name in ("variance", "cosine", "layer_cosine", "descent_cosine"):
            assert_close(getattr(getattr(single, kind), name), getattr(getattr(double, kind), name), absolute=1e-5)


def linear(x: Tensor) -> Objective:
    """Loss -w.x of one row w, so that g is minus the mean of x over the batch."""
    model = nn.Linear(x.shape[1], 1, bias=False).double()
    return Objective(model, lambda output, _: -output.mean(), [(x, torch.zeros(len(x)))])


def inputs(signal: Tensor, noise: Tensor, seed: int = 0, count: int = 512) -> Tensor:
    """Return samples: the signal, plus Gaussian noise with a deviation for each coordinate."""
    draws = torch.randn(count, len(signal), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return signal + noise * draws


def test_the_cosine_is_the_one_predicted_where_dimensions_are_many() -> None:
    """400 equal dimensions: norms of batch gradients hardly vary, so that the ratio of means is the mean of ratios."""
    signal = torch.zeros(400, dtype=torch.float64)
    signal[::2] = 2.0
    signal[1::2] = -2.0
    found = minibatch_noise(linear(inputs(signal, torch.full_like(signal, 8.0))), [2, 8, 32]).raw
    expected = 1 / (1 + 16 / torch.tensor([2.0, 8.0, 32.0], dtype=torch.float64))
    assert found.noise_scale == pytest.approx(16.0, abs=4 * found.noise_scale_standard_error)
    assert found.noise_scale_standard_error < 1.0
    # 1/D is the relative variance of a squared norm
    assert_close(found.predicted_cosine, expected, absolute=0.03)
    assert bool(((found.cosine - expected).abs() < 4 * found.cosine_standard_error + 1 / 400).all())


def test_predictions_come_from_the_largest_batch_size() -> None:
    objective = linear(inputs(torch.ones(8).double(), torch.ones(8).double(), count=12))
    both, small, large = (minibatch_noise(objective, sizes, draws=6) for sizes in ([3, 1], [1], [3]))
    assert both.raw.noise_scale == large.raw.noise_scale != small.raw.noise_scale
    assert_close(both.raw.predicted_cosine, [1 / (1 + large.raw.noise_scale / b) for b in (3, 1)], relative=1e-14)


def test_a_signal_along_ones_is_lost_by_p_and_not_by_the_control() -> None:
    """tr(P Sigma P) is smaller, and directions agree less."""
    n = 16
    found = minibatch_noise(linear(inputs(torch.ones(n).double(), torch.full((n,), 2.0).double())), [8], rho=0.1)
    assert float(found.raw.cosine[0]) > 0.5
    assert abs(float(found.centralized.cosine[0])) < 4 * float(found.centralized.cosine_standard_error[0])
    assert float(found.centralized.variance[0]) < float(found.raw.variance[0])
    gain = found.gain_beyond_control
    assert float(gain.cosine[0]) < -10 * float(gain.cosine_standard_error[0])


def test_noise_along_ones_is_removed_by_p_and_not_by_the_control() -> None:
    n = 16
    signal = torch.tensor([1.0, -1.0] * (n // 2), dtype=torch.float64)
    along = 4 * torch.randn(512, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = inputs(signal, torch.ones(n).double()) + along
    found = minibatch_noise(linear(x), [8], rho=0.1)
    for gain in (found.centralized_gain, found.gain_beyond_control):
        assert float(gain.cosine[0]) > 10 * float(gain.cosine_standard_error[0])
    assert abs(float(found.control_gain.cosine[0])) < 0.3 * float(found.centralized_gain.cosine[0])


def test_without_a_radius_descents_are_the_gradients() -> None:
    found = minibatch_noise(Objective(*CASES[1].make()), [2, 3], rho=0.0, draws=4)
    for kind in oracle.KINDS:
        assert_close(getattr(found, kind).descent_cosine, found.raw.cosine, absolute=1e-14)


@pytest.mark.parametrize(
    ("size", "draws", "num_batches", "num_cuts"),
    [
        (1, 64, 64, 16),  # twelve disjoint ones are few
        (1, 12, 12, 1),
        (4, 4, 6, 2),
        (6, 64, 64, 32),
        (2, 6, 6, 1),
        (5, 2, 2, 1),
    ],
)
def test_few_disjoint_batches_come_from_several_cuts(size: int, draws: int, num_batches: int, num_cuts: int) -> None:
    found = minibatch_noise(Objective(*CASES[1].make()), [size], draws=draws, rho=0.0)
    assert (found.num_batches.tolist(), found.num_cuts.tolist()) == ([num_batches], [num_cuts])


def test_a_batch_size_has_the_same_batches_whatever_the_others() -> None:
    objective = Objective(*CASES[1].make())
    one, both, other = (
        minibatch_noise(objective, sizes, seed=seed, draws=4) for sizes, seed in (([3], 0), ([2, 3], 0), ([3], 1))
    )
    assert torch.equal(one.raw.cosine, both.raw.cosine[1:])
    assert not torch.equal(one.raw.cosine, other.raw.cosine)


def test_means_over_tokens_divide_by_those_of_the_batch() -> None:
    """As training does; fails if a batch gradient is divided by its samples, or if pieces of it count equally."""
    torch.manual_seed(0)
    x, y = torch.randn(4, 3, 2, dtype=torch.float64), torch.randint(2, (4, 3))
    y[0, 1:], y[3, :1] = -100, -100
    model = nn.Linear(2, 2, bias=False).double()

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    data = list(zip(x.split(1), y.split(1), strict=True))  # pieces of one sample
    found = minibatch_noise(Objective(model, batch_loss=batch_loss, data=data), [2], draws=2)
    rows = []
    for chosen in torch.randperm(4, generator=torch.Generator().manual_seed(0)).view(2, 2):
        loss, count = batch_loss(model, (x[chosen], y[chosen]))
        rows.append((torch.autograd.grad(loss, model.weight)[0] / count).flatten())
    assert float(found.raw.signal[0]) == pytest.approx(float(rows[0] @ rows[1]), rel=1e-12)


def test_each_batch_costs_four_gradients() -> None:
    model, loss_fn, batches = CASES[1].make()
    calls: list[int] = []

    def counting(output: Tensor, target: Tensor) -> Tensor:
        calls.append(len(output) * output.requires_grad)
        return loss_fn(output, target)

    minibatch_noise(Objective(model, counting, batches, reduction="mean"), [2, 3], draws=4)
    assert sum(calls) == 4 * (4 * 2 + 4 * 3)


def test_without_a_signal_the_status_says_so() -> None:
    """Gradients +1 and -1: their mean is 0, so the unbiased ||G||^2 is negative."""
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    found = minibatch_noise(Objective(nn.Linear(1, 1, bias=False), lambda o, _: o.mean(), [(x, x)]), [1], draws=4)
    assert found.status is Status.ZERO_SIGNAL
    assert math.isinf(found.raw.noise_scale)
    assert found.raw.predicted_cosine.tolist() == [0.0]
    assert float(found.raw.cosine[0]) == pytest.approx(-1 / 3)


def test_gradients_that_are_not_finite_are_told() -> None:
    x = torch.tensor([[1.0], [math.inf], [1.0], [2.0]])
    objective = Objective(nn.Linear(1, 1, bias=False), lambda o, _: o.mean(), [(x, x)])
    found = minibatch_noise(objective, [1], draws=4)
    assert found.status is Status.NOT_FINITE
    assert math.isnan(float(found.raw.cosine[0]))


def test_a_gradient_of_zero_is_no_way_up() -> None:
    """Fails if epsilon is 0/0 there. Gradients 0, 0, -2, -4."""
    x, model = torch.tensor([[0.0], [0.0], [1.0], [2.0]]), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    objective = Objective(model, nn.MSELoss(), [(x, torch.ones(4, 1))])
    found = minibatch_noise(objective, [1], draws=4)
    assert found.status is Status.COMPLETE
    assert_close([found.raw.cosine[0], found.raw.descent_cosine[0]], [1 / 6, 1 / 6], absolute=1e-6)  # one pair of six


@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(does_raise: bool) -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    check_left_as_found(
        model, lambda stop: minibatch_noise(objective, [2], draws=4, progress=stop), does_raise=does_raise
    )


def test_progress_counts_batches() -> None:
    seen: list[tuple[int, int]] = []
    objective = Objective(*CASES[1].make())
    minibatch_noise(objective, [6, 3], draws=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 8) for done in range(1, 9)]


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = minibatch_noise(Objective(*CASES[5].make()), [2, 6], draws=6)  # with NaN: a layer without a gradient
    assert bool(found.raw.layer_cosine.isnan().any())
    found.save(tmp_path / "run.h5", "minibatch")
    loaded = analysis.load(tmp_path / "run.h5", "noise/minibatch")
    assert loaded == found
    assert isinstance(loaded, MinibatchNoise)
    assert isinstance(loaded.raw, BatchNoise)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rho": -0.1}, r"rho must be a finite number >= 0, got -0\.1"),
        ({"rho": math.nan}, "rho must be a finite number >= 0, got nan"),
        ({"draws": 1}, "draws must be a whole number >= 2, got 1; batches are compared in pairs"),
        ({"seed": math.nan}, "seed must be a whole number >= 0, got nan"),
        ({"held": 1}, "held must be a whole number >= 2, got 1"),
        ({"batch_sizes": ()}, "batch_sizes must name at least one batch size, got none"),
        ({"batch_sizes": (7,)}, "whole numbers from 1 to 6, half of the 12 samples, got 7: two disjoint batches"),
        ({"batch_sizes": (0,)}, "whole numbers from 1 to 6, half of the 12 samples, got 0"),
        ({"batch_sizes": (math.nan,)}, "whole numbers from 1 to 6, half of the 12 samples, got nan"),
        ({"batch_sizes": (2, 3, 2)}, r"batch_sizes must differ, got \[2, 3, 2\]"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        minibatch_noise(Objective(*CASES[1].make()), **{"batch_sizes": (2,), **settings})
    assert "\n" not in str(caught.value)


def test_samples_that_cannot_be_mixed_are_refused() -> None:
    data = [(torch.ones(2, 3), torch.ones(2, 1)), (torch.ones(2, 4), torch.ones(2, 1))]
    objective = Objective(nn.Linear(3, 1), batch_loss=lambda model, batch: (model.weight.sum(), 1), data=data)
    with pytest.raises(ValueError, match="a random batch needs samples of one shape to mix batches"):
        minibatch_noise(objective, [1])
