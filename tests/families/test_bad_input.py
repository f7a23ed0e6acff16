"""What users get wrong with a network of their own: one line on stderr that says what to do, and status 2.

Each is a call of `landscape measure` with functions from a file of theirs. Blind to CUDA: a tensor on another device is
one on meta here.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from analysis import Objective, load
from tests.compare import assert_close
from tests.landscape.conftest import Done

NETS = """
import random
import torch
import torch.nn.functional as F
from torch import nn

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3
CUTS = (slice(0, 5), slice(5, 8), slice(8, 12))

def model():
    return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Dropout(0.5), nn.Linear(3, 3))

def data():
    return [(X[rows], Y[rows]) for rows in CUTS]

def wants(width, *, depth):
    return nn.Linear(width, depth)

def numbers():
    return {"weight": torch.ones(3, 4)}

class Stray(nn.Sequential):
    def __init__(self):
        super().__init__(*model())
        self.offset = torch.zeros(3, device="meta")  # no buffer, and so it stays where it is

    def forward(self, x):
        return super().forward(x) + self.offset

class Noisy(nn.Sequential):
    def __init__(self):
        super().__init__(*model())

    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, training=True))

class Quantized(nn.Sequential):
    def __init__(self):
        super().__init__(*model())
        self.codes = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)

def one_argument(output):
    return output.sum()

def three_arguments(output, target, weight):
    return output.sum()

def vector(output, target):
    return F.cross_entropy(output, target, reduction="none")

def item(output, target):
    return F.cross_entropy(output, target).item()

def nothing(output, target):
    F.cross_entropy(output, target)

def accuracy(output, target):
    return (output.argmax(1) == target).sum()

def detached(output, target):
    return F.cross_entropy(output.detach(), target)

def no_count(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])

def many_counts(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1], reduction="sum"), torch.ones(len(batch[1]))

def fails(output, target):
    raise KeyError("logits")

def on_meta():
    return [(X.to("meta"), Y)]

def empty():
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X[:2], Y[:2]), batch_size=5, drop_last=True)

class Nothing:
    def __iter__(self):
        return iter(())

def generator():
    yield from data()

class Exhausted:
    def __init__(self):
        self.batches = iter(data())

    def __iter__(self):
        return self.batches

def with_nan():
    return [(torch.where(X > 1.5, torch.nan, X), Y)]

def mappings():
    return [{"x": X, "labels": Y}]

def augmented():
    class Augmented(torch.utils.data.Dataset):
        def __len__(self):
            return 12

        def __getitem__(self, i):
            return X[i] + 0.1 * generator.random(), Y[i]

    generator = random.Random(0)
    return torch.utils.data.DataLoader(Augmented(), batch_size=5)

class Shuffled:
    def __init__(self):
        self.random = random.Random(0)

    def __iter__(self):
        order = torch.tensor(self.random.sample(range(12), 12))
        return iter([(X[order[rows]], Y[order[rows]]) for rows in CUTS])
"""
LOSS = "torch.nn.functional:cross_entropy"
MISTAKES = [
    # (what is given otherwise, the line)
    ({"model": "nowhere:model"}, r"--model nowhere:model: no module 'nowhere' in "),
    (
        {"model": "own_nets:modle"},
        r"--model own_nets:modle: module 'own_nets' has no function 'modle'; did you mean 'mod",
    ),
    (
        {"model": "own_nets:wants"},
        r"--model own_nets:wants: is called without arguments, but wants width, depth; give t",
    ),
    ({"model": "own_nets:numbers"}, r"--model own_nets:numbers: must return a torch\.nn\.Module, but returned dict$"),
    ({"model": "torch.nn:Linear"}, r"--model torch\.nn:Linear: is called without arguments, but wants in_features, ou"),
    (
        {"model": "own_nets:Stray"},
        r".* do not fit together; on the first batch: .*; a tensor that is neither parameter n",
    ),
    (
        {"model": "own_nets:Noisy"},
        r"two passes over the same batch gave loss sums .* random numbers outside nn\.Dropout",
    ),
    (
        {"checkpoint": "other.pt"},
        r"--checkpoint other\.pt: does not fit the model: it lacks 4 names, '0\.weight' \(3, 4\), ",
    ),
    ({"checkpoint": "short.pt"}, r"--checkpoint short\.pt: is cut short after \d+ bytes; save it, or get it, again$"),
    ({"checkpoint": "none.pt"}, r"--checkpoint none\.pt: no such file; give the one that torch\.save wrote"),
    (
        {"checkpoint": "whole.pt"},
        r".* it has 1 of integers, '0\.weight' torch\.int8, not torch\.float32; let --model bui",
    ),
    (
        {"checkpoint": "nan.pt"},
        r"own_nets:model with nan\.pt: the loss is nan, so there is nothing to measure; check the w",
    ),
    (
        {"loss": "own_nets:one_argument"},
        r"--loss own_nets:one_argument: must be called as loss\(output, target\), or as ",
    ),
    (
        {"loss": "own_nets:three_arguments"},
        r"--loss .* first argument is named model, but takes \(output, target, weight",
    ),
    (
        {"loss": "own_nets:vector"},
        r"the loss must be one number per batch, got a tensor of shape \(5,\), .*; reduce it b",
    ),
    (
        {"loss": "own_nets:item"},
        r"the loss must be a tensor of one element, got float; return it without \.item\(\), flo",
    ),
    ({"loss": "own_nets:nothing"}, r"the loss must be a tensor of one element, got None; return it"),
    (
        {"loss": "own_nets:accuracy"},
        r"the loss must be a real number, got a tensor of shape \(\), torch\.int64; is it an a",
    ),
    (
        {"loss": "own_nets:detached"},
        r"the loss must depend on the model's parameters, .* look for \.detach\(\), \.item\(\)",
    ),
    (
        {"loss": "own_nets:no_count"},
        r"a loss of \(model, batch\) must return \(loss_sum, count\), got a tensor of shape \(\)",
    ),
    (
        {"loss": "own_nets:many_counts"},
        r"the count beside a loss must be one number, of samples or tokens, got a tensor ",
    ),
    (
        {"loss": "own_nets:fails"},
        r"--model own_nets:model, --data .* do not fit together; on the first batch: KeyError: log",
    ),
    ({"loss": "landscape.huggingface:model_loss"}, r"model_loss needs batches that are mappings with .* got tuple$"),
    ({"data": "own_nets:on_meta"}, r"the data must hold numbers, got a tensor on the device meta; make it on the CPU$"),
    (
        {"data": "own_nets:empty"},
        r"--data own_nets:empty: data must hold at least one batch, got none; check the data set",
    ),
    (
        {"data": "own_nets:Nothing"},
        r"--data own_nets:Nothing: data must hold at least one batch, got none; check the dat",
    ),
    (
        {"data": "own_nets:generator"},
        r"--data own_nets:generator: data must be readable more than once, got an iterator;",
    ),
    (
        {"data": "own_nets:Exhausted"},
        r"data must be readable more than once, got batches at first and none at a later pas",
    ),
    (
        {"data": "own_nets:with_nan"},
        r".*: the loss is nan, so there is nothing to measure; the data hold NaN or infinity, ",
    ),
    (
        {"data": "own_nets:augmented"},
        r"two passes over the data gave inputs that sum to .* Switch random augmentation and ",
    ),
    (
        {"data": "own_nets:mappings"},
        r"with loss_fn each batch must be \(input, target\), got dict of 2; for others give .* ",
    ),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a scratch folder the current one, with the module `own_nets` and checkpoints of several kinds in it."""
    import sys

    (tmp_path / "own_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    module = __import__("own_nets")
    torch.manual_seed(0)
    weights = module.model().state_dict()
    torch.save(weights, "net.pt")
    torch.save({f"layer{i}.weight": torch.ones(2) for i in range(7)}, "other.pt")
    Path("short.pt").write_bytes(Path("net.pt").read_bytes()[:900])
    torch.save({**weights, "0.weight": torch.ones(3, 4, dtype=torch.int8)}, "whole.pt")
    torch.save({**weights, "0.weight": torch.full((3, 4), torch.nan)}, "nan.pt")
    yield tmp_path
    sys.modules.pop("own_nets", None)


def own(**changed: str) -> list[str]:
    given = {
        "model": "own_nets:model",
        "checkpoint": "net.pt",
        "data": "own_nets:data",
        "loss": LOSS,
        "output": "net.h5",
    }
    return [part for name, value in {**given, **changed}.items() for part in (f"--{name}", value)]


@pytest.mark.parametrize(
    ("changed", "line"), MISTAKES, ids=lambda value: "".join(value.values()) if isinstance(value, dict) else ""
)
def test_a_mistake_is_one_line(changed: dict[str, str], line: str, cli: Callable[..., Done], folder: Path) -> None:
    done = cli("measure", *own(**changed))
    assert done.status == 2, done.err
    assert re.match(f"landscape measure: {line}", done.err), done.err
    assert done.err.count("\n") == 1


def test_names_that_differ_are_told_with_shapes_five_of_each(cli: Callable[..., Done], folder: Path) -> None:
    done = cli("measure", *own(checkpoint="other.pt"))
    names = ", ".join(rf"'layer{i}\.weight' \(2,\)" for i in range(5))
    assert re.search(rf"; it has beside it 7 names, {names} and 2 more; let --model build", done.err), done.err


def test_a_pickle_that_would_run_code_does_not(cli: Callable[..., Done], folder: Path) -> None:
    """Whatever the format: the file that the code would write is not there."""

    class Canary:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (Path("canary"),)

    torch.save({"state_dict": torch.load("net.pt"), "extra": Canary()}, "new.pt")
    torch.save({"extra": Canary()}, "old.pt", _use_new_zipfile_serialization=False)
    Path("plain.pt").write_bytes(pickle.dumps(Canary()))
    for name in ("new.pt", "old.pt", "plain.pt"):
        done = cli("measure", *own(checkpoint=name))
        assert (done.status, done.err.count("\n")) == (2, 1), done.err
        assert done.err.startswith(f"landscape measure: --checkpoint {name}: "), done.err
        assert not Path("canary").exists(), name
    assert "refused, because it holds more than tensors" in cli("measure", *own(checkpoint="new.pt")).err


def test_integers_among_the_parameters(cli: Callable[..., Done], folder: Path) -> None:
    """They are no mistake while nobody asks for their landscape."""
    import own_nets

    torch.save(own_nets.Quantized().state_dict(), "codes.pt")
    given = own(model="own_nets:Quantized", checkpoint="codes.pt")
    done = cli("surface", "--dimensions", 1, "--points", 3, *given)
    assert done.status == 0, done.err
    done = cli("measure", *given, "--parameters", "*", "--output", "codes.h5")
    assert done.status == 2
    assert "parameters: 'codes' is of torch.int8, which has no derivatives; leave it out, or measure" in done.err


def test_shuffling_and_dropout_layers_change_nothing(cli: Callable[..., Done], folder: Path) -> None:
    """In a loader with a random state of its own, which nobody can set back; rounding of a sum in another order."""
    for name, output in (("data", "one.h5"), ("Shuffled", "two.h5")):
        for command, more in (("surface", ("--points", 3)), ("noise", ())):
            done = cli(command, *own(data=f"own_nets:{name}", output=output), *more)
            assert done.status == 0, done.err
    for name, values in (
        ("plane", lambda found: found.loss),
        ("plane", lambda found: found.rise_error),  # of the same samples, whatever their order
        ("gradient_noise", lambda found: found.raw.total.trace),
    ):
        one, two = (values(load(path, name)) for path in ("one.h5", "two.h5"))
        assert_close(two, one, relative=1e-4)
    import own_nets

    model = own_nets.model().double()
    products = [
        Objective(model, torch.nn.CrossEntropyLoss(), batches, dtype=torch.float64).hvp(torch.ones(27))
        for batches in (own_nets.data(), own_nets.Shuffled())
    ]
    assert_close(products[1], products[0], relative=1e-12)
