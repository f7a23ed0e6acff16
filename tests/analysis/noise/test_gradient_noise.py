"""The whole measurement against the definition, its laws, and what it leaves behind."""

from __future__ import annotations

import gc
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import analysis
from analysis import Objective, gradient_noise
from analysis.evidence import Status
from tests.analysis.noise import oracle
from tests.analysis.noise.test_moments import joint_of
from tests.analysis.noise.test_per_sample import ALL, ALL_IDS
from tests.analysis.noise.test_sample_norms import TOKENS
from tests.analysis.noise.untouched import check_left_as_found
from tests.cases import CASES, Case
from tests.compare import assert_close


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
def test_noise_and_signal_are_those_of_the_definition(case: Case) -> None:
    model, loss_fn, batches = case.make()
    found = gradient_noise(Objective(model, loss_fn, batches), seed=5)
    expected = oracle.everything(model, loss_fn, batches, seed=5)
    for kind in oracle.KINDS:
        layers = getattr(found, kind)
        for name in ("trace", "signal"):
            got = [*getattr(layers, name).tolist(), getattr(layers.total, name)]
            # the signal is a difference of two numbers of the size of the trace
            assert_close(got, expected[kind][name], absolute=1e-12 * expected["raw"]["trace"][-1], relative=1e-11)


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
def test_errors_and_comparisons_are_those_of_explicit_gradients(case: Case) -> None:
    """Fails if samples and neighbors are taken from the wrong place; formulas: `test_moments.py`."""
    model, loss_fn, batches = case.make()
    found = gradient_noise(Objective(model, loss_fn, batches), seed=5)
    kinds = oracle.projected(model, oracle.per_sample(model, loss_fn, batches), 5)
    layers = {kind: list(oracle.by_layer(kinds[kind]).values()) for kind in oracle.KINDS}
    for row in range(len(found.layers) + 1):
        chosen = [
            torch.cat(layers[kind], 1) if row == len(found.layers) else layers[kind][row] for kind in oracle.KINDS
        ]
        joint = joint_of(chosen)
        expected = joint.estimates()
        for number, kind in enumerate(oracle.KINDS):
            layer = getattr(found, kind)
            for name in ("trace_standard_error", "signal_standard_error"):
                got = getattr(layer.total, name) if row == len(found.layers) else float(getattr(layer, name)[row])
                # roots of differences of squares of numbers of the size of the trace
                assert got == pytest.approx(float(getattr(expected, name)[0, number]), rel=1e-6, abs=1e-10)
        pairs = {"centralized_to_raw": (1, 0), "control_to_raw": (2, 0), "centralized_to_control": (1, 2)}
        for name, pair in pairs.items():
            comparison = getattr(found, name)
            for field, value in zip(("ratio", "low", "high"), joint.relative(*pair), strict=True):
                whole = getattr(comparison.total, field)
                got = whole if row == len(found.layers) else float(getattr(comparison, field)[row])
                assert got == pytest.approx(float(value), rel=1e-5, nan_ok=True)


def test_layers_are_the_modules_in_the_order_of_the_model() -> None:
    model, loss_fn, batches = CASES[2].make()
    assert gradient_noise(Objective(model, loss_fn, batches)).layers == ("0", "1", "5")
    tied = gradient_noise(Objective(*CASES[5].make()))
    assert tied.layers == ("Tied", "first")  # a weight of the model itself; the shared one at its first place


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_layers_sum_to_the_total(case: Case) -> None:
    found = gradient_noise(Objective(*case.make()))
    for kind in oracle.KINDS:
        layers = getattr(found, kind)
        assert layers.total.trace == float(layers.trace.sum())
        assert layers.total.signal == float(layers.signal.sum())


def test_a_projection_never_raises_the_noise_and_the_parts_add_up() -> None:
    model, loss_fn, batches = CASES[2].make()
    found = gradient_noise(Objective(model, loss_fn, batches))
    raw = oracle.per_sample(model, loss_fn, batches)
    removed = {}
    for name, kept in oracle.projected(model, raw, 0)["centralized"].items():
        removed[name] = raw[name] - kept
    traces = [oracle.moments(rows)[0] for rows in oracle.by_layer(removed).values()]
    assert_close(found.raw.trace - found.centralized.trace, traces, relative=1e-11)
    assert_close(found.removed.trace, traces, relative=1e-11)
    assert_close(found.removed.signal, found.raw.signal - found.centralized.signal, absolute=1e-12)
    assert found.removed.total.trace == pytest.approx(found.raw.total.trace - found.centralized.total.trace, rel=1e-11)
    assert bool((found.centralized.trace <= found.raw.trace).all())
    assert bool((found.control.trace <= found.raw.trace).all())


def test_uneven_batches_equal_one_batch() -> None:
    model, loss_fn, batches = CASES[1].make()
    whole = [(torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches]))]
    cut, one = (gradient_noise(Objective(model, loss_fn, data)) for data in (batches, whole))
    assert cut.raw.total.trace == pytest.approx(one.raw.total.trace, rel=1e-12)
    assert cut.raw.total.signal == pytest.approx(one.raw.total.signal, rel=1e-10)
    assert cut.raw.total.signal_standard_error == pytest.approx(one.raw.total.signal_standard_error, rel=1e-8)


def test_a_signal_along_ones_is_destroyed_by_p_and_not_by_the_control() -> None:
    """One row w of n weights, loss -w.x: g = -x. With x = 1 + noise, P takes all the signal and 1/n of the noise."""
    n, count = 16, 4000
    x = 1 + 0.5 * torch.randn(count, n, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    model = nn.Linear(n, 1, bias=False).double()
    found = gradient_noise(Objective(model, lambda output, _: -output.mean(), [(x, torch.zeros(count))]))
    raw, kept = found.raw.total, found.centralized.total
    assert raw.signal == pytest.approx(n, abs=5 * raw.signal_standard_error)
    assert abs(kept.signal) < 5 * kept.signal_standard_error < 0.01 * n
    assert kept.trace / raw.trace == pytest.approx(1 - 1 / n, abs=0.01)
    # a random direction lies along the ones by 1/n of its square on average, at most by a few times that
    assert found.control.total.signal > 0.5 * raw.signal
    assert found.control.total.trace / raw.trace == pytest.approx(1 - 1 / n, abs=0.01)
    assert found.ascent_ratio_total == pytest.approx(0.0, abs=0.1)


def test_ascent_ratio_is_p_g_over_g() -> None:
    model, loss_fn, batches = CASES[2].make()
    found = gradient_noise(Objective(model, loss_fn, batches))
    kinds = oracle.projected(model, oracle.per_sample(model, loss_fn, batches), 0)
    raw, kept = (
        [rows.mean(0).square().sum() for rows in oracle.by_layer(kinds[kind]).values()] for kind in oracle.KINDS[:2]
    )
    assert_close(found.ascent_ratio, [float((a / b).sqrt()) for a, b in zip(kept, raw, strict=True)], relative=1e-11)
    assert found.ascent_ratio_total == pytest.approx(float((sum(kept) / sum(raw)).sqrt()), rel=1e-11)


def test_what_p_does_to_relative_noise_shows_in_the_comparison() -> None:
    """The toy of the trivial claim: P lowers the absolute noise and raises the relative one beyond all bounds."""
    n, count = 16, 400
    x = 1 + 0.5 * torch.randn(count, n, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    x[:, 0] += 0.5  # a signal that P leaves
    model = nn.Linear(n, 1, bias=False).double()
    found = gradient_noise(Objective(model, lambda output, _: -output.mean(), [(x, torch.zeros(count))]))
    assert found.centralized.total.trace < found.raw.total.trace
    # truth: noise 15/16 of the raw, signal 15/64 of 15 + 2.25 + ... = 17.25
    truth = (15 / 16) / (0.25 * 15 / 16 / 17.25)
    comparison = found.centralized_to_raw.total
    assert comparison.low < truth < comparison.high
    assert comparison.low > 10
    assert found.centralized_to_control.total.low > 5
    assert found.control_to_raw.total.high < 2


def test_signal_to_noise_is_the_root_of_the_inverse_noise_scale() -> None:
    found = gradient_noise(Objective(*CASES[2].make())).raw
    assert found.total.signal_to_noise == pytest.approx(
        math.sqrt(max(0.0, found.total.signal / found.total.trace)), rel=1e-12
    )
    assert_close(found.signal_to_noise, (found.signal / found.trace).clamp(min=0).sqrt(), relative=1e-12)


@pytest.mark.parametrize("chunk", [None, 3])
def test_noise_of_tokens_that_are_spread(chunk: int | None) -> None:
    """Fails if the neighbor of the first sample of a piece is not the last one of the piece before."""
    model, loss_fn, batches = TOKENS.make()
    found = gradient_noise(Objective(model, loss_fn, batches), chunk=chunk)
    assert found.ways[:2] == ("spread", "spread")
    rows = oracle.by_layer(oracle.per_sample(model, loss_fn, batches))[""]
    expected = joint_of([rows]).estimates()
    assert float(found.raw.trace[0]) == pytest.approx(float(expected.trace), rel=1e-11)
    assert float(found.raw.signal_standard_error[0]) == pytest.approx(float(expected.signal_standard_error), rel=1e-8)


def test_layers_with_a_form_are_not_differentiated_sample_by_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails if everything goes through vmap, which is slower."""
    monkeypatch.setattr("analysis.noise.answers.PerSampleGradients", None)
    found = gradient_noise(Objective(*CASES[2].make()))
    assert set(found.ways) <= {"gram", "product", "grouped", "sum"}


@pytest.mark.parametrize("case", ALL, ids=ALL_IDS)
@pytest.mark.parametrize("chunk", [1, 3])
def test_pieces_change_nothing(case: Case, chunk: int) -> None:
    model, loss_fn, batches = case.make()
    whole, pieces = (gradient_noise(Objective(model, loss_fn, batches), chunk=size) for size in (None, chunk))
    for kind in (*oracle.KINDS, "removed"):
        a, b = getattr(whole, kind), getattr(pieces, kind)
        scale = float(whole.raw.total.trace)
        for name in ("trace", "trace_standard_error", "signal", "signal_standard_error"):
            assert_close(getattr(a, name), getattr(b, name), absolute=1e-11 * scale, relative=1e-8)


def test_a_loss_that_compares_samples_is_refused_by_its_pieces() -> None:
    """Fails if the pieces are not held against the whole: in pieces of two samples each is alone with its twin."""
    x = torch.tensor([[1.0], [1.0], [3.0], [3.0]])
    objective = Objective(nn.Linear(1, 1), lambda output, _: (output - output.mean()).square().mean(), [(x, x)])
    with pytest.raises(ValueError, match="the loss must be a sum over samples, got loss"):
        gradient_noise(objective, chunk=2)


def test_the_seed_moves_the_control_alone() -> None:
    objective = Objective(*CASES[1].make())
    first, again, other = (gradient_noise(objective, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.control.trace, again.control.trace)
    assert not torch.equal(first.control.trace, other.control.trace)
    assert torch.equal(first.raw.trace, other.raw.trace)


def test_means_over_tokens_weigh_samples_by_their_tokens() -> None:
    """g_i = N / tokens * gradient of sample i's sum, so that their mean is the objective's gradient."""
    torch.manual_seed(0)
    x, y = torch.randn(6, 4, 3, dtype=torch.float64), torch.randint(2, (6, 4))
    y[:3, 2:] = -100
    model = nn.Linear(3, 2, bias=False).double()

    def batch_loss(model: Any, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = batch
        loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum", ignore_index=-100)
        return loss, (targets != -100).sum()

    objective = Objective(model, batch_loss=batch_loss, data=[(x, y)])
    found = gradient_noise(objective)
    tokens = 18
    rows = []
    for i in range(6):
        loss, _ = batch_loss(model, (x[i : i + 1], y[i : i + 1]))
        rows.append(6 / tokens * torch.autograd.grad(loss, model.weight)[0].flatten())
    trace, signal = oracle.moments(torch.stack(rows))
    assert found.raw.total.trace == pytest.approx(trace, rel=1e-12)
    assert found.raw.total.signal == pytest.approx(signal, rel=1e-10)
    assert float(objective.gradient().norm()) ** 2 == pytest.approx(signal + trace / 6, rel=1e-10)


def test_without_a_signal_the_status_says_so() -> None:
    """Gradients +1 and -1: the mean is 0, so the unbiased ||G||^2 is negative."""
    x = torch.tensor([[1.0], [-1.0], [1.0], [-1.0]])
    found = gradient_noise(Objective(nn.Linear(1, 1, bias=False), lambda o, _: o.mean(), [(x, x)]))
    assert found.status is Status.ZERO_SIGNAL
    assert math.isinf(found.raw.total.noise_scale)


def test_gradients_that_are_not_finite_are_told() -> None:
    x = torch.tensor([[1.0], [math.inf], [1.0]])
    found = gradient_noise(Objective(nn.Linear(1, 1, bias=False), lambda o, _: o.mean(), [(x, x)]))
    assert found.status is Status.NOT_FINITE


@pytest.mark.parametrize("does_raise", [False, True])
def test_everything_is_left_as_found(does_raise: bool) -> None:
    model, loss_fn, batches = CASES[2].make()
    objective = Objective(model, loss_fn, batches)
    check_left_as_found(model, lambda stop: gradient_noise(objective, progress=stop), does_raise=does_raise)


def test_progress_counts_samples() -> None:
    seen: list[tuple[int, int]] = []
    gradient_noise(Objective(*CASES[1].make()), chunk=4, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 12), (5, 12), (9, 12), (12, 12)]  # batches of 5 and 7


@pytest.mark.parametrize("index", [2, 4], ids=["forms", "loop"])
def test_memory_does_not_grow_with_the_number_of_samples(index: int) -> None:
    """Fails if anything is kept of each sample: tensors alive after the first batches and after all.

    What the fingerprint of the data keeps of each batch is less than a number for each sample.
    """
    model, loss_fn, batches = CASES[index].make()
    held: dict[int, int] = {}

    def count(done: int, total: int) -> None:
        if done in {12, total}:
            gc.collect()
            held[done] = sum(x.numel() for x in gc.get_objects() if type(x) is Tensor)

    gradient_noise(Objective(model, loss_fn, batches * 10), progress=count)
    assert held[120] - held[12] < 108


def test_saved_and_loaded_equal(tmp_path: Path) -> None:
    found = gradient_noise(Objective(*CASES[2].make()))
    found.save(tmp_path / "run.h5", "gradient_noise")
    assert analysis.load(tmp_path / "run.h5", "noise/gradient_noise") == found


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seed": -1}, "seed must be a whole number >= 0, got -1"),
        ({"seed": math.nan}, "seed must be a whole number >= 0, got nan"),
        ({"chunk": 0}, "chunk must be a whole number >= 1, got 0"),
        ({"chunk": 2.5}, "chunk must be a whole number >= 1, got 2.5"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gradient_noise(Objective(*CASES[0].make()), **settings)


def test_one_sample_has_no_covariance() -> None:
    data = [(torch.ones(1, 2), torch.ones(1, 1))]
    with pytest.raises(ValueError, match="needs at least 2 samples, got 1"):
        gradient_noise(Objective(nn.Linear(2, 1), F.mse_loss, data))


def test_targets_that_are_all_ignored_are_told() -> None:
    data = [(torch.ones(3, 2), torch.full((3,), -100))]
    with pytest.raises(ValueError, match="total count of 0; is every target ignored"):
        gradient_noise(Objective(nn.Linear(2, 2), F.cross_entropy, data))
