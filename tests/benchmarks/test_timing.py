"""Benchmarks: pairing and medians on made-up timers, memory on known allocations, and the file of a tiny run.

No assertion looks at a clock, so nothing here depends on how fast or busy the machine is; blind to whether the timed
sections are the right ones, except that the closure's own time must not count.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import optimizer as benchmark
from benchmarks import peers
from benchmarks.peers import PlainSAM
from benchmarks.timing import Work, by_turns, machine, median_interval, paired, ratio_of
from gcsam import GCSAM
from tests.gcsam.small import backward_of, network

CPU = torch.device("cpu")


def timer(name: str, calls: list[str]) -> Callable[[], float]:
    """Return a contestant whose time is the number of calls so far."""

    def run() -> float:
        calls.append(name)
        return float(len(calls))

    return run


def test_every_contestant_runs_once_a_round_and_the_warm_up_is_thrown_away() -> None:
    calls: list[str] = []
    seconds = paired({name: timer(name, calls) for name in "abc"}, rounds=40, seed=3)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == 41
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len({tuple(names) for names in rounds}) == 6  # each order is met: 6 * (5/6)**41 < 0.004, and the seed fixed
    for name in "abc":  # the times of one list position belong to one round
        assert seconds[name] == [3 * i + names.index(name) + 1 for i, names in enumerate(rounds)][1:]


def test_the_order_is_that_of_the_seed() -> None:
    def order(seed: int) -> list[str]:
        calls: list[str] = []
        paired({name: timer(name, calls) for name in "abcd"}, rounds=8, seed=seed)
        return calls

    assert order(0) == order(0) != order(1)


def test_turns_hand_over_after_each_piece_and_the_first_is_apart() -> None:
    """Fails if two work at once, a piece is timed with another's, or a contestant goes on after the last turn."""
    calls: list[str] = []
    ended: list[str] = []
    threads = threading.active_count()

    def contestant(name: str) -> Work:
        def work(done: Callable[[], None]) -> None:
            try:
                while True:
                    calls.append(name)
                    done()
            finally:
                ended.append(name)

        return work

    seconds = by_turns({name: contestant(name) for name in "abc"}, 39, lambda: float(len(calls)), seed=3)
    turns = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(turns) == 40
    assert all(sorted(names) == ["a", "b", "c"] for names in turns)
    assert len({tuple(names) for names in turns}) == 6
    assert seconds == {name: [1.0] * 40 for name in "abc"}  # one call each, whoever else had a turn meanwhile
    assert sorted(ended) == ["a", "b", "c"]
    assert threading.active_count() == threads


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_what_a_contestant_raises_reaches_the_caller(error: BaseException) -> None:
    threads = threading.active_count()

    def failing(done: Callable[[], None]) -> None:
        done()
        raise error

    def endless(done: Callable[[], None]) -> None:
        while True:
            done()

    with pytest.raises(type(error)):
        by_turns({"failing": failing, "endless": endless}, 3, lambda: 0.0)
    assert threading.active_count() == threads


def test_too_little_work_is_refused() -> None:
    with pytest.raises(ValueError, match="short ended after 2 pieces of work"):
        by_turns({"short": lambda done: [done(), done()] and None}, 2, lambda: 0.0)


def test_no_round_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be >= 1, got 0"):
        paired({"a": lambda: 1.0}, rounds=0)


def test_a_ratio_is_taken_within_the_round() -> None:
    """Fails if medians are divided: a machine twice as slow every other round would then hide the ratio."""
    slowness = [1.0, 50.0, 3.0, 0.2, 9.0, 100.0, 0.7]
    base = [slow * other for slow, other in zip(slowness, [1, 1, 2, 1, 1, 1, 1], strict=True)]
    ratio = ratio_of([0.8 * slow for slow in slowness], base)
    assert ratio.median == pytest.approx(0.8, rel=1e-15)
    assert ratio.low == pytest.approx(0.4)  # of 7 values the whole range: 2/2**7 beyond it, and 16/2**7 one further in
    assert ratio.coverage == 1 - 2 / 2**7


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratio_of([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("n", "cut", "coverage"),  # tables of the sign test, to four digits: the 2nd of 9 from each end, the 10th of 30
    [(1, 0, 0.0), (5, 0, 0.9375), (6, 0, 0.9688), (9, 1, 0.9609), (10, 1, 0.9785), (30, 9, 0.9572)],
)
def test_the_interval_is_that_of_the_sign_test(n: int, cut: int, coverage: float) -> None:
    values = [float(value) for value in range(n)]
    random.Random(0).shuffle(values)
    low, high, found = median_interval(values)
    assert (low, high) == (cut, n - 1 - cut)
    assert found == pytest.approx(coverage, abs=5e-5)


def test_the_interval_covers_as_often_as_it_says() -> None:
    draw = random.Random(1)
    trials, hits = 4000, 0
    for _ in range(trials):  # log-normal: skewed as running times are, true median 1
        low, high, coverage = median_interval([math.exp(draw.gauss(0, 1)) for _ in range(12)])
        hits += low <= 1 <= high
    assert abs(hits / trials - coverage) < 4 * math.sqrt(coverage * (1 - coverage) / trials)  # z = 4


def test_the_algorithm_of_the_plain_peer_is_sam() -> None:
    """20 steps in float64. Its 1e-12 beside a norm of about 1 moves epsilon by 5e-14; the rest is rounding."""
    ours, theirs = network(), network()
    options: dict[str, Any] = {"rho": 0.5, "lr": 0.1, "momentum": 0.9}
    first = GCSAM(ours.parameters(), torch.optim.SGD, centralize_ascent=False, **options)
    second = PlainSAM(theirs.parameters(), torch.optim.SGD, **options)

    def cleared() -> torch.Tensor:
        theirs.zero_grad()
        return backward_of(theirs)()

    for _ in range(20):
        assert first.step(backward_of(ours)).item() == pytest.approx(second.step(cleared).item(), abs=1e-10)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-10)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = 0.0
        monkeypatch.setattr(benchmark, "now", lambda device: self.time)


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> benchmark.Subject:
    monkeypatch.setattr(benchmark, "SCRATCH_ELEMENTS", 16)
    return benchmark.make_subject("mlp", "contiguous", CPU, batch=4, image_size=8)


def test_the_time_of_the_closure_does_not_count_outside(
    subject: benchmark.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)

    class SlowTensor(torch.Tensor):
        def add_(self, other: Any) -> SlowTensor:  # type: ignore[override]
            clock.time += 100.0  # in the closure
            return self

    def build(model: nn.Module) -> benchmark.Step:
        def step(closure: Callable[[], Any]) -> None:
            closure()
            clock.time += 3.0
            closure()
            clock.time += 4.0

        return step

    slow = subject._replace(scratch=subject.scratch.as_subclass(SlowTensor))
    run = benchmark.contest(slow, build, benchmark.Prefilled)
    assert [run(), run()] == [benchmark.Times(step=207.0, outside=7.0)] * 2


def test_every_pass_sees_the_same_gradients(subject: benchmark.Subject) -> None:
    """Fails if a contestant that writes into `.grad`, as one peer does, spoils its next step."""
    seen = []

    def build(model: nn.Module) -> benchmark.Step:
        def step(closure: Callable[[], Any]) -> None:
            for _ in range(2):
                closure()
                gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
                seen.append([gradient.clone() for gradient in gradients])
                for parameter, gradient in zip(model.parameters(), gradients, strict=True):
                    gradient.fill_(torch.nan)
                    parameter.grad = None

        return step

    run = benchmark.contest(subject, build, benchmark.Prefilled)
    run()
    run()
    for gradients, expected in itertools.product(seen, [subject.gradients]):
        torch.testing.assert_close(gradients, expected, rtol=0, atol=0)


def test_memory_counts_what_is_held_at_the_same_time(subject: benchmark.Subject) -> None:
    def build_with(size: int, times: int) -> Callable[[nn.Module], benchmark.Step]:
        def build(model: nn.Module) -> benchmark.Step:
            def step(closure: Callable[[], Any]) -> None:
                closure()
                for _ in range(times):  # given back each time: one counts
                    torch.empty(size, dtype=torch.uint8)

            return step

        return build

    nothing = benchmark.peak_bytes(subject, build_with(0, 1))
    # up to a hundred bytes: at another moment another few numbers are held
    assert benchmark.peak_bytes(subject, build_with(10**7, 3)) - nothing == pytest.approx(10**7, abs=100)
    weights = sum(parameter.nbytes for parameter in subject.model.parameters())
    assert nothing >= 2 * weights  # the copy of the network, and its gradients
    assert nothing < 2 * weights + 1000  # and a few numbers


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of a tiny run on a machine without other libraries."""
    path = tmp_path_factory.mktemp("run") / "out.json"
    arguments = f"--device cpu --models mlp cnn --rounds 2 --batch 4 --image-size 8 --output {path}".split()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark, "SCRATCH_ELEMENTS", 2**10)
        for module in (benchmark, peers):
            patch.setattr(module, "version_of", lambda library: None)
        benchmark.main(arguments)
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def test_the_file_says_how_it_was_made(report: dict[str, Any]) -> None:
    about = report["about"]
    for fact in ("processor", "cores", "threads", "device", "system", "python", "torch", "date", "pytorch_optimizer"):
        assert fact in about
    assert about["torch"] == torch.__version__
    assert about["processor"]
    assert about["copy_gigabytes_per_second"] > 0
    expected = {"rounds": 2, "batch": 4, "image_size": 8, "momentum": 0.9, "rho": 0.05, "base": "SGD"}
    assert expected.items() <= report["settings"].items()


def test_the_file_holds_every_raw_time_and_the_ratios_follow_from_them(report: dict[str, Any]) -> None:
    rows = report["rows"]
    found = [(row["model"], row["memory_format"], row["quantity"]) for row in rows]
    quantities = ("step", "outside", "prefilled", "memory")
    subjects = [("mlp", "contiguous"), ("cnn", "contiguous"), ("cnn", "channels_last")]  # an mlp has no channels
    assert found == [(*subject, quantity) for subject in subjects for quantity in quantities]
    for row in rows:
        if row["quantity"] != "memory":
            assert {"gcsam", "sam", "sgd"} <= row["seconds"].keys()
            assert all(len(times) == 2 and min(times) > 0 for times in row["seconds"].values())
            assert row["ratios"]
            for ratio in row["ratios"]:
                again = ratio_of(row["seconds"][ratio["ours"]], row["seconds"][ratio["theirs"]])
                assert {**ratio, **again._asdict()} == ratio
                assert "target" in ratio


def test_our_steps_need_one_copy_of_the_weights(report: dict[str, Any]) -> None:
    """Counted by the profiler of torch's allocator. The rest: means of rows, norms, held batch-norm statistics."""
    for row in report["rows"]:
        if row["quantity"] == "memory":
            copies = row["extra_copies_of_weights"]
            assert copies["sgd"] == 0
            for name in ("gcsam", "sam"):
                # these nets are tiny: some ten numbers for each tensor's rows and norms show; a second copy makes 2
                assert 1 <= copies[name] < 1.5


def test_a_missing_library_is_skipped_and_named(report: dict[str, Any]) -> None:
    assert report["about"]["pytorch_optimizer"] is None
    assert "pytorch_optimizer: not installed (pip install --no-deps" in report["skipped"][0]
    assert not [name for row in report["rows"] for name in row.get("seconds", {}) if "pytorch_optimizer" in name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [("--rounds 0", "--rounds must be >= 1, got 0"), ("--device cuda", "torch sees no CUDA device here")],
)
def test_mistakes_on_the_command_line_are_one_line(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit):
        benchmark.main(arguments.split())
    assert message in capsys.readouterr().err


def test_help_has_an_example_that_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--help"])
    example = " ".join(capsys.readouterr().out.split()).rpartition("benchmarks/optimizer.py ")[2]
    assert benchmark.parse(example.split()).models == ["resnet18", "vit-tiny"]


def test_the_machine_facts_are_plain_json() -> None:
    json.dumps(machine(CPU))
