"""Several processes: `torchrun --nproc-per-node 2 examples/ddp.py --perturbation local`.

"global": all processes climb along the averaged gradient, as one process with the joint batch would. "local": each
climbs along the gradient of its own share (m-sharpness, with m the local batch), and only the second gradient is
averaged; it saves the communication of the first pass. Give `from_model` the wrapped model: "local" must hold back its
averaging.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, distributed, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

from gcsam import GCSAM


def train(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]], epochs: int, perturbation: str) -> None:
    """Train the model in place on this process's share of each batch."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    parallel = DistributedDataParallel(model)
    optimizer = GCSAM.from_model(parallel, torch.optim.SGD, rho=0.05, lr=0.1, momentum=0.9, perturbation=perturbation)
    parallel.train()
    for _ in range(epochs):
        for x, y in batches:
            mine = slice(rank, None, world)
            optimizer.step(lambda x=x[mine], y=y[mine]: cross_entropy(parallel(x), y).backward())


def main() -> None:
    """Train a small network on scikit-learn's images of digits; start it with torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--perturbation", choices=("global", "local"), default="global")
    perturbation = parser.parse_args().perturbation
    device = "cuda" if torch.cuda.is_available() else "cpu"
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    if device == "cuda":
        torch.cuda.set_device(distributed.get_rank() % torch.cuda.device_count())
    torch.manual_seed(0)
    images, labels = (torch.from_numpy(array).to(device) for array in load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))[:-1]  # shares of equal size
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
    train(model, batches, epochs=5, perturbation=perturbation)
    if distributed.get_rank() == 0:
        print(f"{perturbation}: loss {cross_entropy(model(batches[0][0]), batches[0][1]):.3f}")
    gc.collect()  # what still refers to the process group keeps its threads, which may bring Python down at its end
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
