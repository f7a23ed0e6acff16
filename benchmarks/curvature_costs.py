"""What one Hessian product costs in gradients, and how much memory the largest eigenvalue of a transformer takes.

Right when the products are those of a dense Hessian and memory grows by what is held (`tests/benchmarks`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis import Objective, hessian_eigenvalues
from benchmarks.curvature_peers import Problem, products
from benchmarks.curvature_subject import SEED, TOL, Scale, build, load_images, start_vector
from benchmarks.timing import now, paired, ratio_of

__all__ = ["Transformer", "memory", "product", "resident"]

ROOT = Path(__file__).resolve().parents[1]


def product(name: str, batch: int, image_size: int, device: torch.device, rounds: int) -> dict[str, Any]:
    """Compare one product with one gradient on one batch.

    Args:
        name: Of the network.
        batch: Images.
        image_size: Their side.
        device: Where.
        rounds: Of each.

    Returns:
        The row: ratios to the gradient, raw seconds, and the error of each product against float64.
    """
    images, labels, _ = load_images(None, batch, image_size)
    problem = Problem(
        build(name, image_size).to(device), nn.CrossEntropyLoss(), [(images.to(device), labels.to(device))]
    )
    judge = problem.objective(dtype=torch.float64, memory_budget=0)
    vector = start_vector(judge.num_parameters, torch.float32, device)
    expected = judge.hvp(vector.double())
    runs, errors, failures = {"gradient": clocked(gradient_of(problem), device)}, {}, {}
    for contestant, hvp in products(problem).items():
        try:
            found = hvp(vector)
        except (RuntimeError, NotImplementedError) as reason:  # an operation it cannot differentiate
            failures[contestant] = str(reason).splitlines()[0]
            continue
        difference = torch.linalg.vector_norm(found.double() - expected)
        errors[contestant] = float(difference / torch.linalg.vector_norm(expected))
        runs[contestant] = clocked(lambda hvp=hvp: hvp(vector), device)  # type: ignore[misc]
    seconds = paired(runs, rounds)
    ratios = [
        {"ours": contestant, "theirs": "gradient", **ratio_of(found, seconds["gradient"])._asdict()}
        for contestant, found in seconds.items()
        if contestant != "gradient"
    ]
    return {
        "part": "product",
        "network": name,
        "batch": batch,
        "ratios": ratios,
        "relative_errors": errors,
        "failures": failures,
        "seconds": seconds,
    }


def gradient_of(problem: Problem) -> Callable[[], Any]:
    """Return a function that takes the gradient as anyone would."""
    model = problem.copied()
    parameters = list(model.parameters())
    (images, labels) = problem.batches[0]
    return lambda: torch.autograd.grad(problem.loss_fn(model(images), labels), parameters)


def clocked(function: Callable[[], Any], device: torch.device) -> Callable[[], float]:
    """Return a function that calls another and returns the seconds it took."""

    def once() -> float:
        begin = now(device)
        function()
        return now(device) - begin

    return once


class Transformer(nn.Module):
    """A causal language model of torch's own layers: scores [B, vocabulary, T] for tokens [B, T].

    Args:
        width: Of the residual stream.
        layers: Count.
        vocabulary: Words.
        tokens: Longest input.
    """

    def __init__(self, width: int, layers: int, vocabulary: int, tokens: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, max(1, width // 64), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the scores of the next words."""
        x = self.words(tokens) + self.places[: tokens.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], device=x.device, dtype=x.dtype)
        for layer in self.layers:
            x = layer(x, src_mask=mask)
        scores: Tensor = self.head(self.norm(x))
        return scores.transpose(1, 2)


def memory(scale: Scale, device: torch.device, max_basis: int | None, threads: int | None) -> dict[str, Any]:
    """Find the largest eigenvalue of a transformer in a process of its own, and return the row it reports."""
    given = {"scale": scale, "device": str(device), "max_basis": max_basis, "threads": threads}
    load = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmarks import curvature_costs"
    code = f"{load}; curvature_costs.memory_child()"
    command = [sys.executable, "-c", code, json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    row: dict[str, Any] = {"part": "memory", "max_basis": max_basis}
    if done.returncode:  # killed for memory, for example
        return {**row, "failure": f"exit status {done.returncode}: {(done.stderr.splitlines() or [''])[-1]}"}
    return {**row, **json.loads(done.stdout.splitlines()[-1])}


def memory_child() -> None:
    """Read what to do from the command line, do it, and print one line of JSON."""
    given = json.loads(sys.argv[-1])
    scale, device = Scale(*given["scale"]), torch.device(given["device"])
    if given["threads"] is not None:
        torch.set_num_threads(given["threads"])
    torch.manual_seed(SEED)
    model = Transformer(scale.width, scale.layers, scale.vocabulary, scale.tokens).to(device).eval()
    text = torch.randint(scale.vocabulary, (1, scale.tokens + 1)).to(device)
    objective = Objective(model, nn.CrossEntropyLoss(), [(text[:, :-1], text[:, 1:])])
    weights = sum(parameter.nbytes for parameter in model.parameters())
    before, _ = resident(device)
    begin = now(device)
    found = hessian_eigenvalues(objective, 1, tol=TOL, seed=SEED, max_basis=given["max_basis"])
    seconds, peak = now(device) - begin, resident(device)[1]
    report = {
        "parameters": objective.num_parameters,
        "tokens": scale.tokens,
        "weights_bytes": weights,
        "bytes_before": before,
        "peak_bytes": peak,
        "extra_copies_of_weights": (peak - before) / weights,
        "seconds": seconds,
        "products": found.num_hvps,
        "status": found.status.name,
        "value": float(found.values[0]),
        "residual": float(found.residuals[0]),
    }
    print(json.dumps(report))


def resident(device: torch.device) -> tuple[int, int]:
    """Return the bytes that this process holds now, and the most it ever held: resident memory, or torch's on CUDA."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    listing = Path("/proc/self/status")
    if listing.exists():  # getrusage would give a child the record of its parent
        entries = dict(line.split(":", 1) for line in listing.read_text(encoding="utf-8").splitlines())
        return int(entries["VmRSS"].split()[0]) * 1024, int(entries["VmHWM"].split()[0]) * 1024
    import resource  # there is none on Windows

    record = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return record, record
