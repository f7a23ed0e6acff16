"""A sharded model and a sharded checkpoint: `torchrun --nproc-per-node 2 examples/fsdp2.py`.

Weights, their copy and the optimizer's state are cut over the processes. Norms are taken over all parts, and means over
whole rows. `torch.distributed.checkpoint` saves and loads the optimizer like any other.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Sequence

import torch
from sklearn.datasets import load_digits
from torch import Tensor, distributed, nn
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.functional import cross_entropy

from gcsam import GCSAM


def sharded(model: nn.Sequential) -> tuple[nn.Module, GCSAM]:
    """Cut a model over all processes and build its optimizer: in this order."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(device, (distributed.get_world_size(),))
    for layer in model:
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model, GCSAM.from_model(model, torch.optim.AdamW, rho=0.05, lr=1e-3)


def train(model: nn.Module, optimizer: GCSAM, batches: Sequence[tuple[Tensor, Tensor]], epochs: int) -> None:
    """Train on this process's share of each batch."""
    rank, world = distributed.get_rank(), distributed.get_world_size()
    model.train()
    for _ in range(epochs):
        for x, y in batches:
            mine = slice(rank, None, world)
            optimizer.step(lambda x=x[mine], y=y[mine]: cross_entropy(model(x), y).backward())


def save(model: nn.Module, optimizer: GCSAM, folder: str) -> None:
    """Write the parts of all processes."""
    weights, state = get_state_dict(model, optimizer)
    checkpoint.save({"model": weights, "optimizer": state}, checkpoint_id=folder)


def load(model: nn.Module, optimizer: GCSAM, folder: str) -> None:
    """Read them again, also with another number of processes."""
    weights, state = get_state_dict(model, optimizer)
    content = {"model": weights, "optimizer": state}
    checkpoint.load(content, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=content["model"], optim_state_dict=content["optimizer"])


def main() -> None:
    """Train on images of digits, save, and go on with fresh objects; start it with torchrun."""
    distributed.init_process_group()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images, labels = (torch.from_numpy(array).to(device) for array in load_digits(return_X_y=True))
    batches = list(zip(images.float().div(16).split(64), labels.split(64), strict=True))[:-1]  # shares of equal size
    folder = [tempfile.mkdtemp() if distributed.get_rank() == 0 else ""]
    distributed.broadcast_object_list(folder)
    for epochs in (2, 3):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).to(device)
        model, optimizer = sharded(network)
        if epochs == 3:
            load(model, optimizer, folder[0])
        train(model, optimizer, batches, epochs)
        save(model, optimizer, folder[0])
        loss = cross_entropy(model(batches[0][0]), batches[0][1])
        if distributed.get_rank() == 0:
            print(f"loss {loss:.3f} after {optimizer.param_groups[0]['gcsam_steps']} steps")
    gc.collect()  # what still refers to the process group keeps its threads, which may bring Python down at its end
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
