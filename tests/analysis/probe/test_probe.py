"""Rows against numbers made without `analysis`, at copies of the weights taken while the probe measured.

The Hessian is a dense one by central differences in float64, the noise by explicit per-sample gradients, the sharpness
by its formula. Blind to other weights in the model than those of the copies: `test_invariant.py` sees that.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from analysis import Objective, Probe, ProbeRecord, Schedule, at_steps, every, every_epoch, hessian_eigenvalues, load
from gcsam import GCSAM
from tests.analysis.noise import oracle
from tests.analysis.probe.clock import Clock
from tests.analysis.probe.subjects import data, network, objective_of, sgd, take_step
from tests.compare import assert_close
from tests.oracles import dense

STEPS = (0, 2, 4, 6)
RHO = 0.2


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> tuple[ProbeRecord, list[nn.Module]]:
    """A training of 7 steps, measured at every second, and the network at each of these."""
    model = network()
    optimizer = sgd(model)
    copies = [copy.deepcopy(model)]
    path = tmp_path_factory.mktemp("probe") / "run.h5"
    options = {"schedule": every(2), "budget": math.inf, "rho": RHO, "num_probes": 40, "seed": 5}
    with Probe(objective_of(model), path, optimizer=optimizer, **options) as probe:
        for step in range(1, 8):
            take_step(model, optimizer)
            probe.step()
            if step % 2 == 0:
                copies.append(copy.deepcopy(model))
    record = load(path)
    assert isinstance(record, ProbeRecord)
    assert record == probe.record
    return record, copies


def test_one_row_for_each_step_of_the_schedule(watched: tuple[ProbeRecord, list[nn.Module]]) -> None:
    record, copies = watched
    assert tuple(record.step.tolist()) == STEPS
    assert len(copies) == len(STEPS)
    assert record.num_skipped.tolist() == [0] * len(STEPS)
    for name in ("lambda_max", "trace", "noise", "sharpness"):
        # ZERO_SIGNAL: on 24 samples the estimated ||G||^2 of the control comes out negative once
        assert set(getattr(record, f"{name}_status")) <= {"CONVERGED", "BREAKDOWN", "COMPLETE", "ZERO_SIGNAL"}, name
    assert record.epoch.isnan().tolist() == [False, True, True, True]  # the loop did not tell


def test_the_loss_and_the_eigenvalue_are_those_of_the_weights_at_that_step(
    watched: tuple[ProbeRecord, list[nn.Module]],
) -> None:
    """The value lies within its residual of an eigenvalue, plus 1e-7, the error of the oracle's differences."""
    record, copies = watched
    x, y = data()
    for row, model in enumerate(copies):
        assert record.loss[row].item() == pytest.approx(cross_entropy(model(x), y).item(), rel=1e-12)
        largest = torch.linalg.eigvalsh(dense.hessian(model, cross_entropy, [(x, y)]))[-1].item()
        residual = record.lambda_max_residual[row].item()
        assert residual <= 0.01 * largest
        assert abs(record.lambda_max[row].item() - largest) <= residual + 1e-7


def test_the_trace_is_within_its_standard_error_and_the_error_is_right(
    watched: tuple[ProbeRecord, list[nn.Module]],
) -> None:
    """Random signs have variance 2 (||H||_F^2 - sum H_ii^2); 40 of them give an error right within 4 / sqrt(80)."""
    record, copies = watched
    for row, model in enumerate(copies):
        hessian = dense.hessian(model, cross_entropy, [data()])
        error = math.sqrt(2 * (hessian.square().sum() - hessian.diag().square().sum()).item() / 40)
        assert abs(record.trace[row].item() - hessian.trace().item()) <= 4 * error
        assert record.trace_standard_error[row].item() == pytest.approx(error, rel=0.45)
    assert record.num_probes == 40


def test_noise_and_q_are_those_of_the_definition(watched: tuple[ProbeRecord, list[nn.Module]]) -> None:
    record, copies = watched
    assert record.layers == ("0", "2")
    for row, model in enumerate(copies):
        gradients = oracle.per_sample(model, cross_entropy, [data()])
        expected = oracle.everything(model, cross_entropy, [data()], seed=5)
        for kind in oracle.KINDS:
            found = getattr(record, kind)
            trace, signal = (expected[kind][name][-1] for name in ("trace", "signal"))
            assert found.trace[row].item() == pytest.approx(trace, rel=1e-10)
            assert found.signal[row].item() == pytest.approx(signal, rel=1e-9, abs=1e-12 * trace)
            assert found.noise_scale[row].item() == pytest.approx(trace / signal if signal > 0 else math.inf, rel=1e-8)
            for name in ("trace", "signal"):
                assert getattr(found, f"{name}_standard_error")[row].item() > 0
        means, kept = (
            {name: g.mean(0) for name, g in one.items()}
            for one in (gradients, oracle.projected(model, gradients, 5)["centralized"])
        )
        for layer, name in enumerate(record.layers):
            parts = [f"{name}.weight", f"{name}.bias"]
            norms = [math.sqrt(sum(one[part].square().sum().item() for part in parts)) for one in (kept, means)]
            assert record.ascent_ratio[row, layer].item() == pytest.approx(norms[0] / norms[1], rel=1e-10)
        whole = [math.sqrt(sum(g.square().sum().item() for g in one.values())) for one in (kept, means)]
        assert record.ascent_ratio_total[row].item() == pytest.approx(whole[0] / whole[1], rel=1e-10)


def test_sharpness_is_one_step_of_length_rho_along_the_gradient(
    watched: tuple[ProbeRecord, list[nn.Module]],
) -> None:
    """Fails if more steps are taken, whose rise is larger, or another radius."""
    record, copies = watched
    x, y = data()
    for row, model in enumerate(copies):
        loss = cross_entropy(model(x), y)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
        with torch.no_grad():
            for parameter, g in zip(model.parameters(), gradients, strict=True):
                parameter += RHO * g / norm
            rise = (cross_entropy(model(x), y) - loss).item()
            for parameter, g in zip(model.parameters(), gradients, strict=True):
                parameter -= RHO * g / norm
        assert record.sharpness[row].item() == pytest.approx(rise, rel=1e-10)
    assert record.rho == RHO


def test_the_last_eigenvector_saves_products(tmp_path: Path) -> None:
    """Fails if the start is not handed on: three steps apart the eigenvector has hardly turned."""
    model = network()
    optimizer = sgd(model, lr=0.02)
    options = {"schedule": every(1), "budget": math.inf, "quantities": ["lambda_max"]}
    probe = Probe(objective_of(model), tmp_path / "run.h5", **options)
    cold = []
    for _ in range(5):
        take_step(model, optimizer)
        probe.step()
        cold.append(hessian_eigenvalues(objective_of(model), k=1).num_hvps)
    warm = [int(products) for products in probe.record.lambda_max_hvps[1:]]
    assert all(a < b for a, b in zip(warm, cold, strict=True)), (warm, cold)
    assert probe.record.lambda_max_hvps[0].item() == hessian_eigenvalues(objective_of(network()), k=1).num_hvps


def test_what_is_not_asked_for_is_nan_without_a_status(tmp_path: Path) -> None:
    probe = Probe(objective_of(network()), tmp_path / "run.h5", quantities=["sharpness"], budget=math.inf)
    record = probe.record
    assert record.quantities == ("sharpness",)
    assert record.sharpness_status == ("COMPLETE",)
    assert record.sharpness.isfinite().all()
    assert (record.lambda_max_status, record.trace_status, record.noise_status) == (("",), ("",), ("",))
    for missing in (record.lambda_max, record.trace, record.raw.trace, record.ascent_ratio_total, record.noise_seconds):
        assert missing.isnan().all()
    assert record.ascent_ratio.shape == (1, 0)
    assert load(tmp_path / "run.h5") == record


def test_learning_rate_and_threshold_are_the_optimizers_at_that_step(tmp_path: Path) -> None:
    model = network()
    optimizer = sgd(model, lr=0.1, momentum=0.9)
    options = {"schedule": every(1), "budget": math.inf, "quantities": ["sharpness"]}
    probe = Probe(objective_of(model), tmp_path / "run.h5", optimizer=optimizer, **options)
    optimizer.param_groups[0]["lr"] = 0.05
    probe.step()
    probe.step(0.2)
    record = probe.record
    assert record.learning_rate.tolist() == [0.1, 0.05, 0.2]
    assert_close(record.threshold, [20.0, 40.0, 10.0], relative=1e-12)
    assert_close(record.threshold_with_momentum, [38.0, 76.0, 19.0], relative=1e-12)
    without = Probe(objective_of(model), tmp_path / "other.h5", **options)
    without.step(0.2)
    assert without.record.threshold.isnan().tolist() == [True, False]
    assert without.record.threshold_with_momentum.isnan().all()


def test_epochs_are_recorded_and_can_be_the_schedule(tmp_path: Path) -> None:
    options = {"budget": math.inf, "quantities": ["sharpness"]}
    probe = Probe(objective_of(network()), tmp_path / "run.h5", schedule=every_epoch(2), **options)
    for epoch in range(1, 6):
        for _ in range(3):
            probe.step()
        probe.end_epoch(epoch)
    assert probe.record.step.tolist() == [0, 6, 12]
    assert probe.record.epoch.tolist() == [0, 2, 4]
    by_step = Probe(objective_of(network()), tmp_path / "other.h5", schedule=at_steps([2, 3]), **options)
    by_step.step()
    by_step.step(epoch=0.5)
    by_step.end_epoch(1)
    by_step.step()
    assert by_step.record.step.tolist() == [2, 3]
    assert by_step.record.epoch.tolist() == [0.5, 1.0]


def test_a_step_in_two_sets_is_measured_once(tmp_path: Path) -> None:
    both = Schedule("both", every(2).at_step, every_epoch(1).at_epoch)
    options = {"schedule": both, "budget": math.inf, "quantities": ["sharpness"]}
    probe = Probe(objective_of(network()), tmp_path / "run.h5", **options)
    for _ in range(2):
        probe.step()
    probe.end_epoch(1)
    probe.step()
    probe.end_epoch(2)
    assert probe.record.step.tolist() == [0, 2, 3]


def test_steps_can_be_told(tmp_path: Path) -> None:
    probe = Probe(objective_of(network()), tmp_path / "run.h5", schedule=at_steps([7]), quantities=["sharpness"])
    probe.step(step=5)
    probe.step()
    probe.step()
    assert probe.record.step.tolist() == [7]
    for wrong in (7, 3, math.nan):
        with pytest.raises(
            ValueError, match=rf"step must be a whole number >= 8, got {wrong}; steps are told in order"
        ):
            probe.step(step=wrong)  # type: ignore[arg-type]


class Slow:
    """A loss that takes a second of a test's clock per batch."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __call__(self, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, int]:
        self.clock.forward(1.0)
        return cross_entropy(model(batch[0]), batch[1], reduction="sum"), len(batch[1])


def test_the_budget_leaves_out_measurements_and_counts_them(tmp_path: Path) -> None:
    """Each measurement is one pass of one batch, 1 s; training takes 4 s a step, and 10 % may be spent."""
    clock, model = Clock(), network()
    objective = Objective(model, batch_loss=Slow(clock), data=[data()])
    objective.loss()  # the first pass checks that the loss repeats, with two more
    options = {"schedule": every(1), "budget": 0.1, "quantities": [], "clock": clock}
    probe = Probe(objective, tmp_path / "run.h5", **options)
    for _ in range(18):
        clock.forward(4.0)
        probe.step()
    record = probe.record
    # after 1 s for step 0 the n-th needs 10 n seconds of training: 20 s are 5 steps, 30 s 8 steps, 40 s 10 steps
    assert record.step.tolist() == [0, 5, 8, 10, 13, 15, 18]
    assert record.num_skipped.tolist() == [0, 4, 2, 1, 2, 1, 2]
    assert record.spent_seconds.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert record.elapsed_seconds.tolist() == [1, 22, 35, 44, 57, 66, 79]
    probe.step()
    probe.close()
    stored = load(tmp_path / "run.h5")
    assert isinstance(stored, ProbeRecord)
    assert stored.skipped == sum(record.num_skipped.tolist()) + 1
    assert (stored.measuring_seconds, stored.training_seconds) == (7.0, 72.0)
    assert stored.share() <= 0.1


def test_between_ascend_and_descend_it_is_refused(tmp_path: Path) -> None:
    model = network()
    optimizer = GCSAM.from_model(model, torch.optim.SGD, rho=0.05, lr=0.1)
    options = {"optimizer": optimizer, "schedule": every(1), "budget": math.inf, "quantities": ["sharpness"]}
    probe = Probe(objective_of(model), tmp_path / "run.h5", **options)
    cross_entropy(model(data()[0]), data()[1]).backward()
    optimizer.ascend()
    told = r"between ascend\(\) and descend\(\): the weights are perturbed, .*; call it after descend\(\)"
    with pytest.raises(RuntimeError, match=r"probe\.step\(\) " + told):
        probe.step()
    with pytest.raises(RuntimeError, match=r"probe\.end_epoch\(\) " + told):
        probe.end_epoch(1)
    with pytest.raises(RuntimeError, match="a probe " + told):
        Probe(objective_of(model), tmp_path / "other.h5", **options)

    class Wrapped:
        """As Lightning and Accelerate hand optimizers out."""

        def __init__(self) -> None:
            self.optimizer, self.param_groups = optimizer, optimizer.param_groups

    with pytest.raises(RuntimeError, match="a probe " + told):
        Probe(objective_of(model), tmp_path / "other.h5", **{**options, "optimizer": Wrapped()})
    optimizer.descend()
    probe.step()
    assert probe.record.step.tolist() == [0, 1]  # the refused call was no step


def test_no_graph_is_kept_between_measurements(tmp_path: Path) -> None:
    objective = objective_of(network())
    probe = Probe(objective, tmp_path / "run.h5", schedule=every(1), budget=math.inf, quantities=["trace"])
    assert objective.kept_bytes == 0
    probe.step()
    assert objective.kept_bytes == 0
