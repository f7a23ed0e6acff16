"""One model cut over two processes (FSDP2): the step of one process on the joint batch, whatever axis is cut.

The oracle is the slow twin in one process, on whole tensors. A transposed convolution cut along axis 0, and the others
along axis 1, have rows in both processes. The oracle cannot see meshes of two dimensions (HSDP, tensor parallelism).
"""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from gcsam.centralize import module_dims, random_directions
from gcsam.shards import as_shard, holders, local, shard_of, whole_norms
from tests.gcsam import sharded
from tests.gcsam.parallel import STEPS
from tests.oracles import gcsam_twin
from tests.processes import in_two_processes

pytestmark = pytest.mark.distributed

# float64, sums in another order: 1e-16 a step, which Adam lifts by up to 1e5 in small gradients
ATOL = 1e-10
SWITCHES = ("adaptive", "centralize_ascent", "centralize_descent", "radius", "friendly")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    return in_two_processes(partial(sharded.work, folder=str(folder)), folder)


def twin(name):
    """Return weights after the steps, the first epsilon, and q in total and of each tensor."""
    options = sharded.settings(name)
    model = sharded.network()
    parameters, axes = list(model.parameters()), list(module_dims(model).values())
    arguments = {name: value for name, value in options.items() if name == "lr"}
    base = options["base_class"](parameters, foreach=False, **arguments)
    switches = {name: options[name] for name in SWITCHES if name in options} | {"eta": options["eta"]}
    if options.get("projection") == "random":
        seeds = [options["projection_seed"] * 1_000_003 + place for place in range(len(axes))]
        switches["units"] = [
            random_directions(parameter.shape, a, torch.Generator().manual_seed(seed)) if a else None
            for parameter, a, seed in zip(parameters, axes, seeds, strict=True)
        ]
    x, y = sharded.joint()

    def backward():
        F.cross_entropy(model(x), y).backward()

    backward()
    w = [parameter.detach().clone() for parameter in parameters]
    gradients = [parameter.grad.clone() for parameter in parameters]
    averages = None
    if "friendly" in switches:  # the ascent that is given up counts
        averages = [0.1 * g for g in gradients]
        gradients = [g - m for g, m in zip(gradients, averages, strict=True)]
    given = {name: switches[name] for name in ("radius", "units", "adaptive", "eta") if name in switches}
    projects = switches.get("centralize_ascent", True)
    epsilon = gcsam_twin.epsilon_of(w, gradients, axes, [0.1] * len(axes), projects=projects, **given)
    ascent_axes = axes if projects or switches.get("radius") == "matched" else [()] * len(axes)
    scales = [p.abs() + 0.05 if "adaptive" in switches and p.ndim > 1 else torch.ones_like(p) for p in w]
    scaled = [t * g for t, g in zip(scales, gradients, strict=True)]
    units = switches.get("units", [None] * len(axes))
    kept = [gcsam_twin.project(g, a, u) for g, a, u in zip(scaled, ascent_axes, units, strict=True)]
    ratios = [gcsam_twin.norm(kept) / gcsam_twin.norm(scaled)]
    ratios += [gcsam_twin.norm([d]) / gcsam_twin.norm([g]) for d, g in zip(kept, scaled, strict=True)]
    for _ in range(STEPS):
        gcsam_twin.step(parameters, backward, base, axes, [0.1] * len(axes), averages=averages, **switches)
    return parameters, epsilon, ratios


@pytest.mark.parametrize("name", sharded.RUNS)
@pytest.mark.parametrize("axis", sharded.AXES)
def test_steps_are_those_of_one_process_on_the_joint_batch(both, axis, name):
    """Fails if the norm, or the mean of a row that is cut, is taken over this process's part alone."""
    expected, epsilon, ratios = twin(name)
    for found in both:
        run = found[axis, name]
        for got, want in zip(run["weights"], expected, strict=True):
            torch.testing.assert_close(got, want.detach(), rtol=0, atol=ATOL)
        for got, want in zip(run["epsilon"], epsilon, strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=ATOL)
        assert run["ratios"] == pytest.approx(ratios, rel=1e-12)  # 100 roundings of 1e-16 each


def test_each_process_keeps_a_copy_of_its_own_part_only(both):
    """Fails if whole weights are saved: the two copies together are one."""
    size = sum(parameter.numel() for parameter in sharded.network().parameters())
    assert sum(found[0, "plain"]["buffers"] for found in both) == size


def test_a_bad_number_in_one_part_skips_the_step_of_all(both):
    for found in both:
        for run in found["bad"]:
            assert all(torch.equal(a, b) for a, b in zip(run["before"], run["after"], strict=True))
            assert (run["states"], run["skipped"]) == (0, 1)
            assert not torch.equal(run["next"][0], run["after"][0])


def test_a_scaler_unscales_parts_and_backs_off_for_all(both):
    """The step is that in float32 without a scaler; 1e-6 is some 10 roundings of 6e-8 of numbers below 1."""
    model = sharded.network(torch.float32)
    x, y = sharded.joint()
    parameters, axes = list(model.parameters()), list(module_dims(model).values())
    gcsam_twin.step(
        parameters,
        lambda: F.cross_entropy(model(x.float()), y).backward(),
        torch.optim.SGD(parameters, lr=0.1),
        axes,
        [0.1] * len(axes),
    )
    for found in both:
        clean, *overflown = found["scaled"]
        for got, want in zip(clean["after"], parameters, strict=True):
            torch.testing.assert_close(got, want.detach(), rtol=0, atol=1e-6)
        assert clean["scale"] == 1024.0
        for run in overflown:
            assert all(torch.equal(a, b) for a, b in zip(run["before"], run["after"], strict=True))
            assert run["scale"] == 512.0


@pytest.mark.parametrize("base", ["AdamW", "SGD"])
def test_a_distributed_checkpoint_goes_on_bit_for_bit_without_a_copy_of_the_weights(both, base):
    """Fails if the state or an option is lost, or a tensor is written that the base optimizer does not keep."""
    for found in both:
        run = found["resumed"][base]
        assert all(torch.equal(a, b) for a, b in zip(run["through"], run["resumed"], strict=True))
        assert (run["rho"], run["steps"]) == (0.1, 6)
        kept = {"AdamW": {"step", "exp_avg", "exp_avg_sq", "ascent_average"}, "SGD": {"momentum_buffer"}}
        assert run["tensors"] == kept[base]


def test_local_is_refused(both):
    assert "perturbation must be 'global' for sharded parameters, got 'local'" in both[0]["local"]


def test_plain_tensors_pass_unchanged():
    tensor = torch.ones(3, 2)
    assert local(tensor) is tensor
    assert shard_of(tensor, tensor) is tensor
    assert as_shard(tensor, tensor) is tensor
    assert holders(tensor) == ()
    assert whole_norms(tensor, [(), ()]) is tensor
