"""The study as a whole: what it writes, what it finds done, what Ctrl-C leaves. The numbers are tested in `analysis`.

One small study is done once, in processes of its own; most tests work on copies of it.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

import figures.study
import landscape.jobs.executors
import landscape.study.running
from analysis.claims import RunTable
from analysis.store import list_measurements, read, read_attributes
from landscape.jobs.attempts import Outcome, Task
from landscape.study.config import StudyConfig
from tests.landscape.conftest import STUDY, Done
from tests.landscape.recorder import Recorder
from tests.landscape.tiny_jobs import assert_same_numbers

NAMES = ("sgd-seed0", "gc-seed0", "sam-seed0", "gcsam-seed0")


@pytest.fixture
def copy(study: tuple[Path, str], tmp_path: Path) -> Path:
    """Copy the study, times of its files included."""
    return shutil.copytree(study[0], tmp_path / "copy")


@pytest.fixture
def no_workers(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """Start no process; keep the tasks that would have been done."""
    tasks: list[Task] = []

    def keep(work: object, given: list[Task], *_: object) -> list[Outcome]:
        tasks.extend(given)
        return [Outcome("finished")] * len(given)

    monkeypatch.setattr(landscape.jobs.executors, "run_tasks", keep)
    return tasks


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Do the tasks in this process, and keep what they show."""
    display = Recorder()

    def run_all(work: Callable[..., Outcome], tasks: list[Task], *_: object) -> list[Outcome]:
        return [work(task, display) for task in tasks]

    monkeypatch.setattr(landscape.jobs.executors, "run_tasks", run_all)
    return display


@pytest.fixture
def one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the accuracies alone, for tests of when it is drawn."""
    monkeypatch.setattr(figures.study, "FIGURES", {"accuracy": figures.study.FIGURES["accuracy"]})
    monkeypatch.setattr(figures.study, "STUDY_FIGURES", {})


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_it_writes_one_file_per_run_one_for_the_study_and_figures(study: tuple[Path, str]) -> None:
    folder, _ = study
    for name in NAMES:
        path = folder / "runs" / name / "run.h5"
        assert set(list_measurements(path)) == {
            *("training/history", "training/summary", "training/measured_data", "training/robustness"),
            *("curvature/eigenvalues", "curvature/trace", "curvature/trace_centralized"),
            *("noise/gradient_noise", "noise/minibatch", "surface/plane"),
            *(f"sharpness/{kind}" for kind in ("worst", "average", "worst_adaptive", "average_adaptive")),
        }
        assert read(path, "surface/plane").variables["loss"].data.shape == (2, 2)
        method = str(read(path, "training/summary").variables["method"].data)
        assert name == f"{method}-seed0"
        assert read_attributes(path)["checkpoint_sha256"]
    assert set(list_measurements(folder / "study.h5")) == {"claims/verdicts", "training/runs"}
    config = StudyConfig.from_json(read_attributes(folder / "study.h5")["config"])
    assert (config.seeds, config.points) == (1, 2)
    drawn = {path.name for path in (folder / "figures").iterdir()}
    for name in ("training", "surfaces", "surfaces_3d", "eigenvalues", "noise", "accuracy"):
        assert {f"{name}.png", f"{name}.pdf"} <= drawn


def test_runs_of_one_seed_are_paired(study: tuple[Path, str]) -> None:
    """Same initialization and same first batch give the same first loss, whatever the method."""
    paths = [study[0] / "runs" / name / "run.h5" for name in NAMES]
    first = [read(path, "training/history").variables["step_loss"].data[0] for path in paths]
    assert first == [first[0]] * 4


def test_a_pipe_gets_lines_that_tell_how_far_it_is(study: tuple[Path, str]) -> None:
    _, out = study
    assert not any(ord(character) < 32 for line in out.splitlines() for character in line)
    for number, method in enumerate(("sgd", "gc", "sam", "gcsam"), start=1):
        assert f"run {number} of 4 ({method}, seed 0): done in " in out
    assert "Claims about GCSAM" in out
    assert "1 paired seeds; a verdict takes at least 5: give the same command with --seeds 5" in out


def test_a_second_call_does_nothing_and_says_so(cli: Callable[..., Done], copy: Path, no_workers: list[Task]) -> None:
    before = snapshot(copy)
    done = cli(*STUDY, "--output", copy)
    assert done.status == 0
    assert done.out.splitlines()[0] == (f"{copy}: all 4 runs are finished, measured, judged and drawn; nothing to do")
    assert "Claims about GCSAM" in done.out
    assert snapshot(copy) == before
    assert no_workers == []


def test_a_second_call_needs_no_torch(study: tuple[Path, str]) -> None:
    code = (
        "import sys, typer, landscape.cli\n"
        "try: typer.main.get_command(landscape.cli.app).main(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code\n"
        "sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    )
    command = [sys.executable, "-c", code, *STUDY, "--output", str(study[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout


def test_other_settings_for_the_folder_are_refused(cli: Callable[..., Done], copy: Path) -> None:
    done = cli("study", "--quick", "--seeds", "1", "--points", "4", "--output", copy)
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"landscape study: {copy} holds a study with other settings (points 4, stored 2); give the same, or another "
        "--output\n"
    )


@pytest.mark.usefixtures("one_figure")
def test_what_is_missing_is_made_and_the_rest_is_left(
    cli: Callable[..., Done], copy: Path, in_process: Recorder
) -> None:
    path = copy / "runs" / "gc-seed0" / "run.h5"
    with h5py.File(path, "r+") as file:
        del file["sharpness/worst"]
    kept = {key: read(path, key) for key in list_measurements(path)}
    others = snapshot(copy / "runs" / "sam-seed0")
    done = cli(*STUDY, "--output", copy)
    assert done.status == 0, done.err
    assert done.out.splitlines()[0] == "3 of 4 runs were finished before"
    assert in_process.stages == ["worst-case sharpness"]
    assert {key: read(path, key) for key in kept} == kept
    assert "sharpness/worst" in list_measurements(path)
    assert snapshot(copy / "runs" / "sam-seed0") == others
    for target in (copy / "study.h5", copy / "figures" / "accuracy.png"):  # both are made from the runs
        assert target.stat().st_mtime_ns > path.stat().st_mtime_ns


@pytest.mark.usefixtures("one_figure")
def test_lost_figures_are_drawn_again(cli: Callable[..., Done], copy: Path, no_workers: list[Task]) -> None:
    shutil.rmtree(copy / "figures")
    assert cli(*STUDY, "--output", copy).status == 0
    assert (copy / "figures" / "accuracy.pdf").is_file()
    assert no_workers == []


def test_more_seeds_add_runs(cli: Callable[..., Done], copy: Path, no_workers: list[Task]) -> None:
    assert cli("study", "--quick", "--seeds", "2", "--points", "2", "--output", copy).status == 0
    assert [(task.job.method, task.job.seed) for task in no_workers] == [(m, 1) for m in ("sgd", "gc", "sam", "gcsam")]


def test_a_failed_run_counts_as_not_measured(cli: Callable[..., Done], copy: Path, no_workers: list[Task]) -> None:
    """Fails if a method gains by the runs that it loses, or if they are done again unasked."""
    reason, folder = "training diverged: the loss is nan", copy / "runs" / "gcsam-seed0"
    (folder / "run.h5").unlink()
    (folder / "failure.txt").write_text(f"{reason}\n\nTraceback\n", encoding="utf-8")
    done = cli(*STUDY, "--output", copy)
    assert (done.status, done.err) == (
        1,
        "landscape study: 1 of 4 runs failed (failure.txt in the folder of each says why; --retry does them again); "
        "verdicts count them as missing\n",
    )
    assert done.out.splitlines()[-1] == f"failed: gcsam-seed0: {reason}"
    assert "not measured in 1 run" in done.out
    table = RunTable.load(copy / "study.h5")
    assert math.isnan(table.by_seed("gcsam", "test_accuracy")[0])
    assert math.isfinite(table.by_seed("sam", "test_accuracy")[0])
    assert "not measured in 1 run" in cli("verify", copy).out
    os.utime(copy / "study.h5", ns=(0, folder.joinpath("failure.txt").stat().st_mtime_ns))  # as before verify
    again = cli(*STUDY, "--output", copy)
    assert again.status == 1
    assert "the finished runs are judged and drawn; nothing to do" in again.out
    assert no_workers == []


def test_failed_runs_are_done_again_on_demand(
    cli: Callable[..., Done], copy: Path, no_workers: list[Task], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(landscape.study.running, "judge", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    (copy / "runs" / "sam-seed0" / "run.h5").unlink()
    (copy / "runs" / "sam-seed0" / "failure.txt").write_text("the disk was full\n", encoding="utf-8")
    assert cli(*STUDY, "--output", copy, "--retry").status == 130
    assert [(task.job.name, task.retry) for task in no_workers] == [("sam-seed0", True)]


def members(group: int) -> list[int]:
    """Return the processes of a group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def interrupt(command: list[str], ready: Callable[[], bool], how: int = signal.SIGINT) -> None:
    """Start a study, press Ctrl-C once it is that far, and see what is left; on a terminal the whole group hears it."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 120
        while not ready():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if how == signal.SIGINT:
            os.killpg(process.pid, how)
        else:
            os.kill(process.pid, how)  # the first process alone
        _, err = process.communicate(timeout=60)
        if process.returncode == 0 and "Exception ignored in: <function _get_module_lock" in err:
            return  # the press fell into a callback of Python's own import machinery, which drops it
        assert process.returncode == 130, err
        assert err.startswith("landscape study: stopped; finished work is kept. To go on: landscape study digits")
        assert err.count("\n") == 1
        time.sleep(0.5)  # multiprocessing's own helper ends by itself once the pipe to it is closed
        assert members(process.pid) == []
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes of a group are counted in /proc")
def test_stopped_by_ctrl_c_it_goes_on_where_it_was(study: tuple[Path, str], tmp_path: Path) -> None:
    """Stopped while starting, while training and while measuring, it ends with the numbers of the one left alone."""
    folder = tmp_path / "study"
    command = [sys.executable, "-m", "landscape", *STUDY, "--output", str(folder), "--workers", "2"]
    interrupt(command, lambda: (folder / "study.json").is_file())
    for name, how in (("checkpoint.pt", signal.SIGTERM), ("run.h5", signal.SIGINT)):
        # a file that was there would stop it before python has started; with all there it would never be that far
        for path in folder.glob(f"runs/*/{name}"):
            path.unlink()
        interrupt(command, lambda name=name: any(folder.glob(f"runs/*/{name}")), how)
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    for name in NAMES:
        assert_same_numbers(folder / "runs" / name, study[0] / "runs" / name)
