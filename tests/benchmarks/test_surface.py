"""Benchmark of the surface: times from made-up clocks, samples counted, targets as data, and the file of a tiny run.

No assertion looks at a clock, so nothing here depends on how fast or busy the machine is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from analysis import Plan
from analysis.surface import points
from benchmarks import reports
from benchmarks import surface as benchmark
from benchmarks import surface_contest as contest
from benchmarks import surface_parts as parts
from benchmarks import surface_subject as subject
from benchmarks.surface_subject import Layout, Subject
from benchmarks.timing import Work, ratio_of
from tests.gcsam.training.test_readers import write_cifar

CPU = torch.device("cpu")
DIGITS = Subject("cnn", "digits", 20, 8, 1, 1)


class Watched(nn.Module):
    """A network that writes down how many samples each pass had, and whether they lay channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 36, 10))
        self.seen: list[tuple[int, bool]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append((len(images), images.is_contiguous(memory_format=torch.channels_last)))
        scores: Tensor = self.inner(images)
        return scores

    def __deepcopy__(self, memo: dict[int, Any]) -> Watched:
        copied = Watched()
        copied.load_state_dict(self.state_dict())
        copied.seen = self.seen  # one list for all copies
        return copied.train(self.training)


@pytest.fixture
def setup() -> subject.Setup:
    torch.manual_seed(0)
    return subject.Setup(Watched().eval(), torch.randn(20, 3, 8, 8), torch.arange(20) % 10, "noise")


def seen(setup: subject.Setup) -> list[tuple[int, bool]]:
    assert isinstance(setup.model, Watched)
    return setup.model.seen


# ---- the numbers' logic


class Clock:
    """Time that goes on only where somebody works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, before: float, cells: Iterable[float]) -> Work:
        def work(done: Callable[[], None]) -> None:
            self.now += before
            for seconds in cells:
                self.now += seconds
                done()

        return work


def test_the_time_of_a_cell_has_nothing_of_what_comes_before_and_nothing_of_the_others() -> None:
    clock = Clock()
    works = {
        "one": (clock.work(100.0, itertools.repeat(2.0)), 1),
        "four": (clock.work(7.0, itertools.cycle([12.0, 0.0, 0.0, 0.0])), 4),  # together: the first is told with all
        "grows": (clock.work(0.0, itertools.count(1.0)), 2),
    }
    found = contest.take_turns(works, 3, clock)
    assert found["one"] == ([2.0, 2.0, 2.0], 100.0)
    assert found["four"] == ([3.0, 3.0, 3.0], 7.0)
    assert found["grows"].cell == [3.5, 5.5, 7.5]


@pytest.mark.parametrize(("cells", "turns", "side"), [(1, 3, 3), (1, 4, 3), (4, 3, 5), (64, 75, 70)])
def test_a_grid_is_not_over_before_all_turns_are(cells: int, turns: int, side: int) -> None:
    assert contest.side_for(cells, turns) == side
    assert side**2 > cells * (turns + 1) >= (side - 1) ** 2


def test_a_whole_grid_has_its_trial_what_is_outside_and_all_cells() -> None:
    assert contest.whole(2.0, 7.0, 51, 30.0) == 30.0 + 7.0 + 51 * 51 * 2.0


@pytest.mark.parametrize(
    ("samples", "images", "expected"),
    [
        (32, False, [8, 16, 32]),
        (20, False, [8, 16, 20]),
        (8, False, [8]),
        (5, False, [5]),
        (16, True, [8, 16, 8, 16]),
    ],
)
def test_all_powers_of_two_and_all_samples_are_tried(samples: int, images: bool, expected: list[int]) -> None:
    found = subject.layouts(samples, images)
    assert [layout.batch_size for layout in found] == expected
    assert {layout.channels_last for layout in found} == ({False, True} if images else {False})
    assert len(set(found)) == len(found)


def test_the_fastest_pass_wins_and_not_the_first() -> None:
    clock = Clock()
    seconds = {Layout(8, False): [1, 3, 3, 4], Layout(16, False): [9, 9, 2, 9], Layout(32, True): [0, 4, 4, 4]}
    works = {layout: clock.work(0.0, map(float, taken)) for layout, taken in seconds.items()}
    best, tried = subject.search(works, 3, clock)
    assert best == Layout(16, False)
    assert [(row["batch_size"], row["channels_last"], row["seconds"]) for row in tried] == [
        (8, False, 3),
        (16, False, 2),
        (32, True, 4),
    ]


def test_targets_are_those_of_the_device() -> None:
    names = ["ours", "bare", contest.LIBRARY]
    seconds = {of: {name: [float(i + 1)] * 6 for i, name in enumerate(names)} for of in ("cell", "grid")}

    def least(network: str, device_type: str) -> dict[tuple[str, str], Any]:
        rows = list(contest.compare(seconds, network, device_type))
        assert {(row["ours"], row["theirs"]): row["median"] for row in rows} == {
            ("ours", "bare"): 0.5,
            (contest.LIBRARY, "ours"): 3.0,
        }
        assert [(row["of"], row["at_most"]) for row in rows if row["theirs"] == "bare"] == [
            ("cell", 1.05),
            ("grid", 1.05),
        ]
        return {(row["of"], row["ours"]): row["at_least"] for row in rows}

    assert least("resnet20", "cpu")["cell", contest.LIBRARY] == 1.9
    assert least("resnet20", "cuda") == {
        ("cell", "ours"): None,
        ("grid", "ours"): None,
        ("cell", contest.LIBRARY): 5.0,
        ("grid", contest.LIBRARY): None,
    }
    assert least("mlp", "cuda")["cell", contest.LIBRARY] == 1.9


def test_ratios_are_those_of_the_raw_seconds() -> None:
    times = {"bare": [2.0] * 3, "1": [6.0] * 3, "4": [3.0] * 3}
    found = parts.beside(times, "bare", "1")
    assert {(row["ours"], row["theirs"]): row["median"] for row in found["ratios"]} == {
        ("1", "bare"): 3.0,
        ("4", "bare"): 1.5,
        ("4", "1"): 0.5,
    }
    assert found["seconds"] == times


# ---- contestants


class Enough(Exception):
    """Ends a contestant that would go on for ever."""


def pieces(work: Work, number: int) -> None:
    """Let a contestant do some pieces."""
    count = itertools.count(1)

    def done() -> None:
        if next(count) == number:
            raise Enough

    with pytest.raises(Enough):
        work(done)


@pytest.mark.parametrize("layout", [Layout(8, False), Layout(8, True), Layout(20, False)])
def test_bare_passes_see_every_sample_once(setup: subject.Setup, layout: Layout) -> None:
    pieces(subject.bare(setup, layout), 3)
    once = [8, 8, 4] if layout.batch_size == 8 else [20]
    assert seen(setup) == [(size, layout.channels_last) for size in once * 3]


def test_bare_passes_record_no_graph(setup: subject.Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[bool] = []
    monkeypatch.setattr(
        Watched, "forward", lambda *_: modes.append(torch.is_inference_mode_enabled()) or torch.zeros(20, 10)
    )
    pieces(subject.bare(setup, Layout(20, False)), 1)
    assert modes == [True]


@pytest.mark.parametrize(("plan", "sizes"), [(Plan(), [20]), (Plan(8, channels_last=True), [8, 8, 4])])
def test_our_grid_follows_the_plan(setup: subject.Setup, plan: Plan, sizes: list[int]) -> None:
    contest.ours(setup, plan, 3)(lambda: None)
    cells = seen(setup)[-9 * len(sizes) :]
    assert [size for size, _ in cells] == sizes * 9
    assert {last for _, last in cells} == {plan.channels_last}


def test_our_cells_are_told_one_by_one(setup: subject.Setup) -> None:
    calls: list[int] = []
    contest.ours(setup, Plan(), 3)(lambda: calls.append(len(seen(setup))))
    assert [after - before for before, after in itertools.pairwise(calls)] == [1] * 8


def test_the_network_suits_the_other_library() -> None:
    """No number of a bias is zero, by whose norm it divides; the running statistics are the data's."""
    found = subject.prepare(DIGITS._replace(network="resnet20", data="cifar10"), None, CPU)
    assert not found.model.training
    parameters = dict(found.model.named_parameters())
    assert all(bool((parameter != 0).all()) for parameter in parameters.values() if parameter.ndim == 1)
    assert all(
        bool((buffer != 0).any()) for name, buffer in found.model.named_buffers() if name.endswith("running_mean")
    )
    again = subject.prepare(DIGITS._replace(network="resnet20", data="cifar10"), None, CPU)
    assert all(torch.equal(parameter, parameters[name]) for name, parameter in again.model.named_parameters())


def test_real_images_are_taken_where_a_folder_is_given(tmp_path: Path) -> None:
    write_cifar(tmp_path)
    found = subject.prepare(Subject("mlp", "cifar10", 4, 16, 1, 1), tmp_path, CPU)
    assert found.about.startswith("CIFAR-10")
    assert found.labels.tolist() == [0, 1, 2, 0]


@pytest.mark.peers
@pytest.mark.skipif(contest.version() is None, reason="pip install --no-deps -r benchmarks/requirements.txt")
@pytest.mark.parametrize(("layout", "sizes"), [(None, [20]), (Layout(8, True), [8, 8, 4])])
def test_the_other_library_passes_every_sample_at_every_cell(
    setup: subject.Setup, layout: Layout | None, sizes: list[int]
) -> None:
    """Fails if its batches are not those of the layout, or a call leaves the weights moved."""
    before = [parameter.clone() for parameter in setup.model.parameters()]
    work, calls = contest.theirs(setup, layout, 4), list[int]()
    for _ in range(2):
        seen(setup).clear()
        work(lambda: calls.append(len(seen(setup))))
        assert calls == [len(sizes) * cell for cell in range(1, 17)]
        calls.clear()
        assert seen(setup) == [(size, layout is not None) for size in sizes * 16]
    assert all(torch.equal(*pair) for pair in zip(before, setup.model.parameters(), strict=True))


# ---- the file of a tiny run


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The file of a tiny run on a machine without the other library."""
    path = tmp_path_factory.mktemp("run") / "out.json"
    with pytest.MonkeyPatch.context() as patch:
        for module in (benchmark, contest):
            patch.setattr(module, "version", lambda: None)
        benchmark.main(f"--quick --device cpu --rounds 2 --only cost,extras,stacked --output {path}".split())
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def rows_of(report: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    return (row for row in report["rows"] if row["part"] == part)


def test_the_file_says_how_it_was_made(report: dict[str, Any]) -> None:
    assert report["about"]["torch"] == torch.__version__
    assert {"processor", "cores", "threads", "date", "copy_gigabytes_per_second"} <= report["about"].keys()
    assert {"rounds": 2, "seed": 0, "quick": True, "grid": 5, "real_images": False}.items() <= report[
        "settings"
    ].items()
    assert "data" not in report["settings"]  # a folder of whoever ran it
    assert report["about"]["loss_landscapes"] is None
    assert report["skipped"] == [
        "loss-landscapes: not installed (pip install --no-deps -r benchmarks/requirements.txt)"
    ]


def test_a_cell_is_compared_with_bare_passes_on_each_network(report: dict[str, Any]) -> None:
    rows = list(rows_of(report, "cost"))
    assert [row["label"] for row in rows] == [one.label for one in subject.QUICK.cost]
    for row, turns in zip(rows, (1, 2), strict=True):
        assert {"bare", "ours"} <= row["seconds"].keys()
        assert all(len(taken) == 2 * turns for taken in row["seconds"].values())
        best = min(row["search"], key=lambda tried: float(tried["seconds"]))
        assert {key: best[key] for key in ("batch_size", "channels_last")} == row["bare"]
        assert row["trial"]["seconds"] > 0
        assert 0 < row["trial"]["share"] < 1
        cell, grid = (next(one for one in row["ratios"] if one["of"] == of) for of in ("cell", "grid"))
        again = ratio_of(row["seconds"]["ours"], row["seconds"]["bare"])
        assert {**cell, **again._asdict()} == cell
        whole = [
            contest.whole(cell_seconds, row["outside"]["ours"], 5, row["trial"]["seconds"])
            for cell_seconds in row["seconds"]["ours"]
        ]
        bare = [25 * seconds for seconds in row["seconds"]["bare"]]
        assert row["outside"]["bare"] == 0
        assert grid["median"] == pytest.approx(ratio_of(whole, bare).median)
        assert row["failures"] == {}


def test_further_quantities_are_compared_with_the_plain_grid(report: dict[str, Any]) -> None:
    (row,) = rows_of(report, "extras")
    assert row["seconds"].keys() == {"plain", "accuracy", "second split", "bfloat16"}
    assert [(ratio["ours"], ratio["theirs"]) for ratio in row["ratios"]] == [
        (name, "plain") for name in ("accuracy", "second split", "bfloat16")
    ]


def test_extras_ask_for_what_they_are_named_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def noted(setup: subject.Setup, *_: Any, **options: Any) -> Any:
        asked.append({**options, "samples": len(setup.labels)})
        return lambda done: [done() for _ in range(9)]

    monkeypatch.setattr(parts, "ours", noted)
    parts.extras(DIGITS, subject.QUICK, 1, None, CPU)
    plain, accuracy, split, low = asked
    assert plain == {"samples": 20}
    assert accuracy == {"metrics": "accuracy", "samples": 20}
    ((images, labels),) = split["splits"]["second"]
    assert len(images) == len(labels) == 20
    assert low == {"precision": "bfloat16", "samples": 20}


def test_cells_together_are_compared_with_one_and_with_bare_passes(report: dict[str, Any]) -> None:
    (row,) = rows_of(report, "stacked")
    assert row["seconds"].keys() == {"bare", "1", "2"}
    assert [(ratio["ours"], ratio["theirs"]) for ratio in row["ratios"]] == [("1", "bare"), ("2", "bare"), ("2", "1")]


@pytest.mark.distributed
def test_two_processes_end_with_one_row() -> None:
    row = parts.processes(subject.QUICK.processes, 2, None, CPU)
    assert "failure" not in row, row
    (ratio,) = row["ratios"]
    assert (ratio["ours"], ratio["theirs"], row["threads_of_each"]) == ("two", "one", 1)
    assert {name: len(taken) for name, taken in row["seconds"].items()} == {"one": 2, "two": 2}


@pytest.mark.distributed
def test_processes_that_fail_are_reported() -> None:
    row = parts.processes(subject.QUICK.processes._replace(network="none"), 1, None, CPU)
    assert row["failure"].startswith("exit status 1: ")
    assert "exit status 1" in "\n".join(benchmark.describe(row))


def test_a_library_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: Any) -> Any:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(contest, "version", lambda: "3.0.6")
    monkeypatch.setattr(contest, "theirs", failing)
    row = contest.cost(subject.QUICK.cost[1], subject.QUICK, 1, None, CPU)
    assert row["failures"] == dict.fromkeys(
        (contest.LIBRARY, f"{contest.LIBRARY}, best batch"), "float division by zero"
    )
    assert "loss-landscapes failed: float division by zero" in "\n".join(benchmark.describe(row))


def test_the_trial_begins_from_one_batch(monkeypatch: pytest.MonkeyPatch, setup: subject.Setup) -> None:
    """Fails if the trial is skipped where the scan promises to be long, or is asked for another grid."""
    asked: list[tuple[int, int]] = []

    def made_up(batches: Any, num_points: int, *_: Any) -> Plan:
        asked.append((len(batches), num_points))
        return Plan(8)

    monkeypatch.setattr(points, "fastest", made_up)
    monkeypatch.setattr(points, "WORTH_A_TRIAL", 0.0)
    plan, seconds = contest.trial(setup, 2601)
    assert (plan, asked) == (Plan(8), [(1, 2601)])
    assert seconds > 0


def test_a_part_measured_alone_takes_its_place_only_beside_its_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails if a part of another run stays in the file, or one of this run does not."""
    monkeypatch.setattr(benchmark, "rows_of", lambda given, *_: iter([{"part": given.only[0], "rounds": given.rounds}]))
    monkeypatch.setattr(benchmark, "describe", lambda _: ())
    monkeypatch.setattr(benchmark, "machine", lambda _: {"processor": "made up"})
    target = tmp_path / "found.json"

    def rows(*arguments: str) -> list[dict[str, Any]]:
        benchmark.main(["--device", "cpu", "--output", str(target), *arguments])
        found: list[dict[str, Any]] = json.loads(target.read_text(encoding="utf-8"))["rows"]
        return found

    first, second = {"part": "cost", "rounds": 3}, {"part": "stacked", "rounds": 3}
    assert rows("--rounds", "3", "--only", "cost") == [first]
    assert rows("--rounds", "3", "--only", "stacked") == [first, second]
    assert rows("--rounds", "3", "--only", "cost") == [second, first]
    assert rows("--rounds", "4", "--only", "stacked") == [{**second, "rounds": 4}]


def test_a_gpu_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H100 80GB")
    assert reports.device_slug(torch.device("cuda")) == "nvidia-h100-80gb"
    assert reports.device_slug(CPU) == "cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--rounds 0", "--rounds must be >= 1, got 0"),
        ("--only cost,costs", "--only 'costs' is unknown; use some of cost,extras,stacked,processes"),
        ("--device cuda", "torch sees no CUDA device here"),
    ],
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
    example = " ".join(capsys.readouterr().out.split()).rpartition("benchmarks/surface.py ")[2]
    assert benchmark.parse(example.split()).only == ["cost", "stacked"]
