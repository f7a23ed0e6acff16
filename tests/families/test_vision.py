"""Networks of a factory, as timm and torchvision make them: a ViT, a ConvNeXt, a ResNet with `fc` and batch norm.

The oracle is a float64 copy, image by image, and central differences of its gradient.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from analysis import Objective, gradient_noise, load
from tests.compare import assert_close
from tests.families.oracle import Oracle
from tests.landscape.conftest import Done

NETS = '''
import torch
from torch import nn
import torch.nn.functional as F

class Attention(nn.Module):
    """As timm has it: one fused projection, and the default attention."""

    def __init__(self, dim, heads=2):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, n, d = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d))

class Layer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(dim), Attention(dim), nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 6), nn.GELU(), nn.Dropout(0.1), nn.Linear(6, dim))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))

class ViT(nn.Module):
    def __init__(self, num_classes, dim=4):
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, stride=4)
        self.cls_token, self.pos_embed = nn.Parameter(torch.randn(1, 1, dim)), nn.Parameter(torch.randn(1, 5, dim))
        self.blocks, self.norm, self.head = nn.Sequential(Layer(dim)), nn.LayerNorm(dim), nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])

class ConvNeXt(nn.Module):
    """A depthwise convolution, a norm over the channels, a layer scale, and stochastic depth while training."""

    def __init__(self, num_classes, dim=4):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, dim, 2, stride=2), nn.Conv2d(dim, dim, 3, padding=1, groups=dim)
        self.norm, self.wide, self.narrow = nn.LayerNorm(dim), nn.Linear(dim, 6), nn.Linear(6, dim)
        self.gamma, self.head = nn.Parameter(torch.full((dim,), 0.5)), nn.Linear(dim, num_classes)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = (self.gamma * self.narrow(F.gelu(self.wide(y)))).permute(0, 3, 1, 2)
        if self.training:
            y = y * torch.bernoulli(torch.full((len(x), 1, 1, 1), 0.5))
        return self.head((x + y).mean((2, 3)))

class ResNet(nn.Module):
    """As in torchvision: relu in place, a shortcut with a stride, batch norm, `fc`, flattening."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = nn.Conv2d(2, 3, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(3)
        self.downsample = nn.Sequential(nn.Conv2d(2, 3, 1, stride=2, bias=False), nn.BatchNorm2d(3))
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(3, num_classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)) + self.downsample(x))
        return self.fc(torch.flatten(self.avgpool(x), 1))

def create_model(name, num_classes=1000):
    return {"vit": ViT, "convnext": ConvNeXt, "resnet": ResNet}[name](num_classes)

def data():
    images = torch.randn(10, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    dataset = torch.utils.data.TensorDataset(images, torch.arange(10) % 5)
    return torch.utils.data.DataLoader(dataset, batch_size=4, shuffle=True)

def vit():
    return create_model("vit", num_classes=5)

def convnext():
    return create_model("convnext", num_classes=5)

def resnet():
    return create_model("resnet", num_classes=5)

def wide():
    return create_model("resnet")
'''
NAMES = ("vit", "convnext", "resnet")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Make a scratch folder the current one, with the module `vision_nets` in it; the module."""
    import sys

    (tmp_path / "vision_nets.py").write_text(NETS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield __import__("vision_nets")
    sys.modules.pop("vision_nets", None)


def trained(nets: Any, name: str) -> Any:
    """Briefly, in train mode, so that batch norm has statistics of these data."""
    torch.manual_seed(0)
    model = getattr(nets, name)().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(5):
        for x, y in nets.data():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


def of_one(model: Any, sample: tuple[Tensor, Tensor]) -> tuple[Tensor, int]:
    image, label = sample
    return -model(image[None].double())[0].log_softmax(-1)[label], 1


@pytest.mark.parametrize("name", NAMES)
def test_loss_gradient_product_and_noise(nets: Any, name: str) -> None:
    """Of the loader as the user gave it, shuffled; dropout and stochastic depth are off."""
    model = trained(nets, name)
    objective = Objective(model.double(), F.cross_entropy, nets.data(), dtype=torch.float64)
    oracle = Oracle(model, of_one, list(nets.data().dataset), objective.names)
    vector = torch.randn(objective.num_parameters, dtype=torch.float64)
    assert_close(objective.loss(), oracle.loss().item(), relative=1e-12)
    assert_close(objective.gradient(), oracle.gradient(), relative=1e-11)
    assert_close(objective.hvp(vector), oracle.difference(vector), relative=1e-6)
    single = oracle.sample_gradients()
    assert_close(gradient_noise(objective).raw.total.trace, single.var(0).sum(), relative=1e-9)
    assert model.training


@pytest.mark.parametrize("name", NAMES)
def test_the_factory_of_the_user_on_the_command_line(nets: Any, cli: Callable[..., Done], name: str) -> None:
    """A checkpoint as trainers write it, through DataParallel; float32 beside the oracle's float64."""
    model = trained(nets, name)
    torch.save({"epoch": 5, "state_dict": torch.nn.DataParallel(model).state_dict()}, "net.pth.tar")
    own = "--checkpoint net.pth.tar --data vision_nets:data --loss torch.nn:CrossEntropyLoss --output net.h5".split()
    done = cli("surface", "--dimensions", 1, "--points", 3, "--model", f"vision_nets:{name}", *own)
    assert done.status == 0, done.err
    assert "net.pth.tar: removed 'module.' from the names of the weights" in done.out
    oracle = Oracle(model, of_one, list(nets.data().dataset), [n for n, _ in model.named_parameters()])
    assert_close(load("net.h5", "line").loss.flatten()[1], oracle.loss().item(), relative=1e-5)  # type: ignore[union-attr]


def test_a_head_of_another_size_is_named_with_its_shapes(nets: Any, cli: Callable[..., Done]) -> None:
    torch.save(nets.resnet().state_dict(), "net.pt")
    own = "--checkpoint net.pt --data vision_nets:data --loss torch.nn:CrossEntropyLoss --output net.h5".split()
    done = cli("measure", "--model", "vision_nets:wide", *own)
    assert done.status == 2
    shapes = r"has 2 of another shape, 'fc\.weight' \(5, 3\), not \(1000, 3\), 'fc\.bias' \(5,\), not \(1000,\)"
    assert re.search(rf"net\.pt: does not fit the model: it {shapes}; let --model build", done.err), done.err


def test_recalibrated_batch_norm_is_that_of_all_images_at_once(nets: Any) -> None:
    """The oracle normalizes with the statistics of the ten images together, by a forward pass in train mode."""
    model = trained(nets, "resnet").double()
    objective = Objective(model, F.cross_entropy, nets.data(), dtype=torch.float64, batchnorm="recalibrate")
    images, labels = (torch.stack(list(part)) for part in zip(*nets.data().dataset, strict=True))
    with torch.no_grad():
        for layer in (model.bn1, model.bn2, model.downsample[1]):
            layer.momentum = 0.0  # the copy of what is measured stays as it was
        expected = F.cross_entropy(model.train()(images.double()), labels)
    # running variances are unbiased, n / (n - 1) with 160 numbers per channel or more; those of a pass are not
    assert_close(objective.loss(), expected.item(), relative=0.02)
