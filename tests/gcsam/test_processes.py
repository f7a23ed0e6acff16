"""Two processes with a copy of the model each: a global perturbation is one process's, a local one each one's own.

The oracle is the slow twin in one process: on the joint batch, and with one epsilon for each share. It cannot see what
only more than two processes, or another backend than gloo, would show.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gcsam import GCSAM
from gcsam.centralize import module_dims
from tests.gcsam import parallel
from tests.gcsam.small import backward_of, network
from tests.oracles import gcsam_twin
from tests.processes import in_two_processes

pytestmark = pytest.mark.distributed

# float64, sums in another order: 1e-16 a step, which Adam lifts by up to 1e5 in small gradients
ATOL = 1e-10


def test_an_unknown_way_is_refused():
    with pytest.raises(ValueError, match=r"perturbation must be 'global' .* or 'local' .*, got 'shared'"):
        GCSAM(network().parameters(), torch.optim.SGD, perturbation="shared", lr=0.1)


@pytest.mark.parametrize("way", ["local", "global"])
def test_in_one_process_both_ways_are_the_same(way):
    model, other = network(), network()
    GCSAM.from_model(model, torch.optim.SGD, perturbation=way, lr=0.1).step(backward_of(model))
    GCSAM.from_model(other, torch.optim.SGD, lr=0.1).step(backward_of(other))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    return in_two_processes(parallel.work, tmp_path_factory.mktemp("parallel"))


def loss_of(model, rank=None):
    x, y = (parallel.X, parallel.Y) if rank is None else parallel.share(rank)
    return F.cross_entropy(model(x), y)


def twin_of(base):
    model = network()
    base_class, arguments = parallel.BASES[base]
    return model, base_class(model.parameters(), foreach=False, **arguments), list(module_dims(model).values())


def gradients_at(model, weights, rank):
    """Return the gradient of one share at given weights."""
    with torch.no_grad():
        for parameter, w in zip(model.parameters(), weights, strict=True):
            parameter.copy_(w)
    return torch.autograd.grad(loss_of(model, rank), list(model.parameters()))


def local_twin(base, steps):
    """Take steps with one epsilon for each share; return the weights and the first two epsilons."""
    model, optimizer, axes = twin_of(base)
    first = []
    for _ in range(steps):
        w = [parameter.detach().clone() for parameter in model.parameters()]
        seconds = []
        for rank in range(2):
            gradients = gradients_at(model, w, rank)
            epsilon = gcsam_twin.epsilon_of(w, gradients, axes, [0.1] * len(axes))
            first.append(epsilon)
            seconds.append(gradients_at(model, [a + e for a, e in zip(w, epsilon, strict=True)], rank))
        for parameter, weight, one, two in zip(model.parameters(), w, *seconds, strict=True):
            parameter.data = weight
            parameter.grad = (one + two) / 2
        optimizer.step()
    return list(model.parameters()), first[:2]


def assert_near(got, expected):
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=0, atol=ATOL)


def assert_equal(got, expected):
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("base", parallel.BASES)
def test_global_is_one_process_on_the_joint_batch(both, base):
    model, optimizer, axes = twin_of(base)
    for _ in range(parallel.STEPS):
        gcsam_twin.step(list(model.parameters()), lambda: loss_of(model).backward(), optimizer, axes, [0.1] * len(axes))
    for found in both:
        assert_near(found["global", base]["weights"], model.parameters())
    assert_equal(both[0]["global", base]["w + epsilon"], both[1]["global", base]["w + epsilon"])


@pytest.mark.parametrize("base", parallel.BASES)
def test_local_climbs_on_each_share_and_steps_on_the_mean(both, base):
    """Fails if the first gradient is averaged, or the second is not."""
    expected, epsilons = local_twin(base, parallel.STEPS)
    for found, epsilon in zip(both, epsilons, strict=True):
        run = found["local", base]
        assert_near(run["weights"], expected)
        assert_near([b - a for a, b in zip(run["w"], run["w + epsilon"], strict=True)], epsilon)
    assert_equal(both[0]["local", base]["weights"], both[1]["local", base]["weights"])
    assert not torch.equal(both[0]["local", base]["w + epsilon"][0], both[1]["local", base]["w + epsilon"][0])


def test_local_by_hand_is_local_by_closure(both):
    for found in both:
        assert_equal(found["by hand"], found["local", "sgd"]["weights"])


def test_only_the_first_pass_of_a_local_step_is_not_averaged_forward_included(both):
    """Each pass is looked at before its forward and before its backward."""
    assert both[0]["synchronized"] == {"global": [True] * 4, "local": [False, False, True, True]}


def test_a_bad_first_gradient_of_one_process_skips_the_step_of_all(both):
    """Fails if a process skips alone, or waits for the other forever."""
    for found in both:
        run = found["bad"]
        assert_equal(run["before"], run["after"])
        assert (run["states"], run["skipped"]) == (0, 1)
        assert not torch.equal(run["next"][0], run["after"][0])
    assert_equal(both[0]["bad"]["next"], both[1]["bad"]["next"])


def test_an_overflow_of_one_process_backs_off_the_scale_of_all(both):
    for found in both:
        run = found["overflow"]
        assert_equal(run["before"], run["after"])
        assert (run["scale"], run["skipped"]) == (512.0, 1)


def test_local_needs_the_model_whose_averaging_it_holds_back(both):
    assert "given no DistributedDataParallel model; build the optimizer by GCSAM.from_model" in both[0]["without model"]
