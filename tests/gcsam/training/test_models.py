"""Networks: published parameter counts, shapes, and initialization from the random state alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gcsam.training import MODELS, build_model
from gcsam.training.models.vit import ViT, patch_size_for

NETS = "tests.gcsam.training.nets"


def size_of(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("mlp", linear(3072, 128) + linear(128, 128) + linear(128, 10)),
        ("cnn", linear(27, 16) + linear(144, 32) + linear(512, 64) + linear(64, 10)),
        ("resnet20", 269_722),  # 0.27M in He et al.; counted by hand below
        ("resnet20_noshort", 269_722),  # the shortcuts have no weights
        ("resnet56", 853_018),  # 0.85M in He et al.
        ("resnet56_noshort", 853_018),
        ("resnet18", 11_173_962),
        ("vgg11", 9_225_610),
        ("vgg11_bn", 9_231_114),
    ],
)
def test_parameter_counts_on_cifar10(name: str, count: int) -> None:
    assert size_of(build_model(name, in_channels=3, num_classes=10, image_size=32)) == count


def test_resnet20_counted_by_hand() -> None:
    def block(inputs: int, outputs: int) -> int:
        return 9 * inputs * outputs + 9 * outputs**2 + 4 * outputs  # two convolutions, two norms; shortcuts are free

    stages = [block(16, 16) * 3, block(16, 32) + 2 * block(32, 32), block(32, 64) + 2 * block(64, 64)]
    assert 9 * 3 * 16 + 2 * 16 + sum(stages) + linear(64, 10) == 269_722


def test_without_shortcuts_nothing_of_the_input_goes_past_the_convolutions() -> None:
    """Fails if a plain network still adds a block's input to its output."""
    for name, passes in (("resnet20", True), ("resnet20_noshort", False), ("resnet56", True)):
        model = build_model(name, in_channels=3, num_classes=10, image_size=32).eval()
        for module in model.modules():
            if isinstance(module, torch.nn.Conv2d) and module.in_channels != 3:
                torch.nn.init.zeros_(module.weight)  # every block then returns its shortcut alone
        scores = model(torch.randn(4, 3, 32, 32)).detach()
        assert bool((scores.std(0) > 0).any()) == passes


def test_vit_tiny_has_the_published_size() -> None:
    """5,717,416 at 224 x 224 and 1,000 classes (DeiT-Ti, Touvron et al. 2021)."""
    assert size_of(ViT(3, 1000, (224, 224), patch_size=16)) == 5_717_416


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (1, 28), (3, 32), (3, (30, 45))])
def test_images_of_any_size_give_scores(name: str, channels: int, size: int | tuple[int, int]) -> None:
    model = build_model(name, in_channels=channels, num_classes=4, image_size=size).eval()
    height, width = (size, size) if isinstance(size, int) else size
    with torch.no_grad():
        assert model(torch.randn(2, channels, height, width)).shape == (2, 4)


@pytest.mark.parametrize("name", MODELS)
def test_initialization_is_drawn_from_the_random_state(name: str) -> None:
    def build(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_model(name, in_channels=1, num_classes=2, image_size=8)
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    assert torch.equal(build(0), build(0))
    assert not torch.equal(build(0), build(1))


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "vgg11", "vit-tiny"])
def test_signals_neither_die_nor_explode_at_initialization(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, in_channels=3, num_classes=10, image_size=32)
    scores = model(torch.randn(8, 3, 32, 32)).detach()
    assert 1e-2 < float(scores.std()) < 10  # eleven plain layers with torch's own initialization give 1e-3


def test_patches_divide_the_image() -> None:
    sizes = {side: patch_size_for((side, side)) for side in (8, 28, 32, 64, 224)}
    assert sizes == {8: 2, 28: 4, 32: 4, 64: 8, 224: 16}
    assert patch_size_for((30, 45)) in {3, 5}
    assert patch_size_for((7, 7)) in {1, 7}


@pytest.mark.parametrize("name", ["dropped", "everything"])
def test_a_users_function_gets_what_it_asks_for(name: str) -> None:
    model = build_model(f"{NETS}:{name}", in_channels=1, num_classes=3, image_size=8)
    assert model.training
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet-20", "model 'resnet-20' is unknown; .*did you mean 'resnet20'"),
        (f"{NETS}:no_module", "must return a torch.nn.Module, but returned int"),
        (f"{NETS}:wrong_scores", r"must return scores \[2, 3\] for images \[2, 1, 8, 8\], but returned \[2, 64\]"),
        (f"{NETS}:failing", "calling it failed: KeyError: 'weights'"),
        (f"{NETS}:absent", "has no function 'absent'"),
    ],
)
def test_wrong_networks_are_one_line(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        build_model(name, in_channels=1, num_classes=3, image_size=8)
    assert "\n" not in str(caught.value)


def test_a_network_that_fails_on_the_images_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.gcsam.training.nets as nets

    monkeypatch.setattr(nets, "wrong_scores", lambda: nn.Linear(5, 3))
    with pytest.raises(ValueError, match=r"fails on images \[2, 1, 8, 8\]: RuntimeError: mat1 and mat2"):
        build_model(f"{NETS}:wrong_scores", in_channels=1, num_classes=3, image_size=8)
