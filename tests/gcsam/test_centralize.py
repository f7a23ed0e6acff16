"""P as a matrix, and the axis rules against the layers themselves.

The oracle of the axis rules is the layer: a row is right when changing its weights moves exactly one output channel.
It cannot see rules that are a choice (embeddings, tokens, names); those are tables of expected axes.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from gcsam.centralize import centralize, module_dims, row_dims, tensor_dims
from tests.oracles.gcsam_twin import project

SHAPES = [(3, 4), (2, 3, 2, 2), (5, 7, 3), (4, 1, 3, 3), (6, 5, 1, 1)]


def random(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(math.prod(shape)))


# --- P ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
def test_the_matrix_of_p_is_an_orthogonal_projection(shape):
    """Fails if the mean is over other elements, or subtracted in part."""
    size = math.prod(shape)
    columns = [centralize(column.reshape(shape)).flatten() for column in torch.eye(size, dtype=torch.float64)]
    matrix = torch.stack(columns, dim=1)
    rounding = 8 * size * torch.finfo(torch.float64).eps  # entries of P are at most 1
    torch.testing.assert_close(matrix, matrix.T, rtol=0, atol=rounding)
    torch.testing.assert_close(matrix @ matrix, matrix, rtol=0, atol=rounding)
    assert float(matrix.trace()) == pytest.approx(size - shape[0])  # one direction is lost per row


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_a_centralized_gradient_sum_to_zero(shape):
    sums = centralize(random(*shape)).flatten(1).sum(1)
    # numbers of size about 4, added in any order
    torch.testing.assert_close(sums, torch.zeros_like(sums), rtol=0, atol=4 * math.prod(shape) * 2.2e-16)


@pytest.mark.parametrize("dims", [(0,), (1, 2), (0, 2), (0, 1, 2), (2,)])
def test_given_axes_are_averaged_over(dims):
    gradient = random(3, 4, 5)
    torch.testing.assert_close(centralize(gradient, dims), project(gradient, dims))


def test_tensors_without_rows_come_back_as_they_are():
    for gradient in (random(5), torch.tensor(3.0), random(4, 1), random(4, 1, 1, 1)):
        assert centralize(gradient) is gradient
    gradient = random(3, 4)
    assert centralize(gradient, ()) is gradient


def test_the_input_is_never_written():
    """Fails if P works in place."""
    gradient = random(3, 4)
    before, version = gradient.clone(), gradient._version
    result = centralize(gradient)
    assert torch.equal(gradient, before)
    assert gradient._version == version
    assert result.data_ptr() != gradient.data_ptr()


def test_layout_and_dtype_are_kept():
    gradient = random(2, 3, 4, 4).float().contiguous(memory_format=torch.channels_last)
    result = centralize(gradient)
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    # float32 sums of 48 numbers of size about 4
    torch.testing.assert_close(result.double(), project(gradient.double(), (1, 2, 3)), rtol=0, atol=48 * 4 * 6e-8)


def test_an_axis_the_gradient_does_not_have_is_refused():
    with pytest.raises(IndexError, match="out of range"):
        centralize(random(3, 4), (2,))


def test_rule_by_shape():
    assert tensor_dims((8, 3, 5, 5)) == (1, 2, 3)
    assert tensor_dims((1, 9)) == (1,)
    for shape in [(), (7,), (7, 1), (7, 1, 1), (7, 0)]:
        assert tensor_dims(shape) == ()


# --- rows of layers --------------------------------------------------------------------------------------------------

LAYERS = {
    "linear": (nn.Linear(5, 3), (4, 5), (1,)),
    "conv1d": (nn.Conv1d(2, 3, 3), (1, 2, 9), (1, 2)),
    "conv2d": (nn.Conv2d(2, 3, 3), (1, 2, 6, 6), (1, 2, 3)),
    "conv3d": (nn.Conv3d(2, 3, 2), (1, 2, 4, 4, 4), (1, 2, 3, 4)),
    "grouped conv": (nn.Conv2d(4, 6, 3, groups=2), (1, 4, 6, 6), (1, 2, 3)),
    "depthwise conv": (nn.Conv2d(4, 4, 3, groups=4), (1, 4, 6, 6), (1, 2, 3)),
    "transposed 1d": (nn.ConvTranspose1d(3, 2, 3), (1, 3, 6), (0, 2)),
    "transposed 2d": (nn.ConvTranspose2d(3, 2, 3), (1, 3, 4, 4), (0, 2, 3)),
    "transposed 3d": (nn.ConvTranspose3d(3, 2, 2), (1, 3, 3, 3, 3), (0, 2, 3, 4)),
    "depthwise transposed": (nn.ConvTranspose2d(4, 8, 3, groups=4), (1, 4, 4, 4), (2, 3)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_row_moves_one_output_channel_and_a_channel_has_one_row(name):
    """Fails if a transposed or grouped convolution is cut along another axis."""
    layer, shape, axes = LAYERS[name]
    assert module_dims(layer) == {"weight": axes, "bias": ()}
    x = random(*shape).float()
    with torch.no_grad():
        before = layer(x)
        rows = [axis for axis in range(layer.weight.ndim) if axis not in axes]
        channels = set()
        for row in torch.cartesian_prod(*(torch.arange(layer.weight.shape[axis]) for axis in rows)).reshape(
            -1, len(rows)
        ):
            index = [slice(None)] * layer.weight.ndim
            for axis, position in zip(rows, row.tolist(), strict=True):
                index[axis] = position
            kept = layer.weight.clone()
            layer.weight[tuple(index)] += 1.0
            moved = (layer(x) - before).abs().transpose(0, 1).flatten(1).amax(1) > 1e-4
            layer.weight.copy_(kept)
            assert int(moved.sum()) == 1
            channels.add(int(moved.nonzero()))
    assert len(channels) == before.shape[1]


def test_no_axes_are_the_row_of_a_transposed_convolution_with_mixed_groups():
    """Its weight [in, out/groups, kernel] has a row that is a block of axis 0: left alone, cut along axis 0."""
    layer = nn.ConvTranspose2d(4, 4, 3, groups=2)
    assert module_dims(layer) == {"weight": (), "bias": ()}
    assert row_dims(layer) == {"weight": (1, 2, 3), "bias": ()}


def test_one_element_per_row_is_left_alone_but_stays_a_row():
    layers = nn.ModuleList([nn.Linear(1, 5), nn.Conv2d(3, 3, 1, groups=3), nn.ConvTranspose2d(1, 3, 1)])
    assert {axes for name, axes in module_dims(layers).items() if "weight" in name} == {()}
    rows = row_dims(layers)
    assert (rows["0.weight"], rows["1.weight"], rows["2.weight"]) == ((1,), (1, 2, 3), (0, 2, 3))


class Conv1D(nn.Module):
    """The layer of transformers' GPT-2: weight [in, out]."""

    def __init__(self, out_features, in_features):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))


class LowRankConv1D(Conv1D):
    """A subclass, as adapters make them."""


@pytest.mark.parametrize("layer", [Conv1D(3, 5), LowRankConv1D(3, 5)])
def test_input_first_linear_layers_are_known_by_class_name(layer):
    assert module_dims(layer) == {"weight": (0,), "bias": ()}
    assert row_dims(layer) == {"weight": (0,), "bias": ()}


def test_input_first_layer_with_one_input_keeps_its_rows():
    assert module_dims(Conv1D(3, 1))["weight"] == ()
    assert row_dims(Conv1D(3, 1))["weight"] == (0,)


@pytest.mark.parametrize("layer", [nn.LSTM(2, 3), nn.GRU(2, 3, bidirectional=True), nn.RNN(3, 1), nn.LSTMCell(2, 3)])
def test_recurrent_weights_have_one_row_per_gate_and_unit(layer):
    """RNN(3, 1) has a weight of shape [1, 3], which is a row and not a token."""
    for name, axes in module_dims(layer).items():
        one_element = dict(layer.named_parameters())[name].shape[-1] == 1
        assert axes == ((1,) if "weight" in name and not one_element else ())


@pytest.mark.parametrize("layer", [nn.Embedding(7, 4), nn.EmbeddingBag(7, 4)])
def test_embeddings_are_left_alone_and_have_one_row_per_word(layer):
    assert module_dims(layer) == {"weight": ()}
    assert row_dims(layer) == {"weight": (1,)}


NORMS = [
    nn.BatchNorm2d(3),
    nn.LayerNorm([3, 4]),
    nn.LayerNorm([1, 4]),
    nn.GroupNorm(1, 3),
    nn.InstanceNorm1d(3, affine=True),
    nn.RMSNorm([3, 4]),
    nn.SyncBatchNorm(3),
]


@pytest.mark.parametrize("layer", NORMS, ids=lambda layer: type(layer).__name__)
def test_norm_layers_of_any_dimension_are_left_alone(layer):
    for rule in (module_dims, row_dims):
        assert set(rule(layer).values()) == {()}


def test_attention_rows_are_those_of_the_fused_projection():
    layer = nn.MultiheadAttention(4, 2, add_bias_kv=True)
    dims, rows = module_dims(layer), row_dims(layer)
    assert dims["in_proj_weight"] == (1,)
    assert dims["out_proj.weight"] == (1,)
    assert {dims[name] for name in ("bias_k", "bias_v", "in_proj_bias", "out_proj.bias")} == {()}
    assert rows["bias_k"] == (2,)
    separate = module_dims(nn.MultiheadAttention(4, 2, kdim=3, vdim=2))
    assert separate["k_proj_weight"] == (1,)


class Direct(nn.Module):
    """Parameters held by a module of no known type."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Parameter(torch.randn(3, 4))
        self.single = nn.Parameter(torch.randn(1, 4))
        self.cls_token = nn.Parameter(torch.randn(2, 4))
        self.pos_table = nn.Parameter(torch.randn(9, 4))
        self.PatchEmbedding = nn.Parameter(torch.randn(9, 4))
        self.gamma = nn.Parameter(torch.randn(4))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.channel_scale = nn.Parameter(torch.randn(4, 1, 1))
        self.tokens = nn.ParameterList([nn.Parameter(torch.randn(3, 4))])
        self.matrices = nn.ParameterDict({"a": nn.Parameter(torch.randn(3, 4))})


def test_parameters_of_other_modules_follow_shape_and_name():
    dims, rows = module_dims(Direct()), row_dims(Direct())
    assert {name: axes for name, axes in dims.items() if axes} == {"mix": (1,), "matrices.a": (1,)}
    assert rows == {
        "mix": (1,),
        "single": (1,),
        "cls_token": (1,),
        "pos_table": (1,),
        "PatchEmbedding": (1,),
        "gamma": (),
        "scale": (),
        "channel_scale": (1, 2),
        "tokens.0": (1,),
        "matrices.a": (1,),
    }


def test_a_weight_with_one_output_is_a_row_and_no_token():
    assert module_dims(nn.Linear(5, 1)) == {"weight": (1,), "bias": ()}
    assert module_dims(nn.Bilinear(2, 3, 1))["weight"] == (1, 2)


def test_a_tied_weight_follows_its_first_name():
    class Language(nn.Module):
        def __init__(self, *, embedding_first):
            super().__init__()
            if embedding_first:
                self.embed, self.head = nn.Embedding(7, 4), nn.Linear(4, 7, bias=False)
            else:
                self.head, self.embed = nn.Linear(4, 7, bias=False), nn.Embedding(7, 4)
            self.head.weight = self.embed.weight

    assert module_dims(Language(embedding_first=True)) == {"embed.weight": ()}
    assert module_dims(Language(embedding_first=False)) == {"head.weight": (1,)}


def test_every_parameter_is_a_key_wrapped_models_included():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), Direct(), nn.Sequential(nn.Linear(2, 3)))
    model[0].weight.requires_grad_(False)
    for rule in (module_dims, row_dims):
        assert list(rule(model)) == [name for name, _ in model.named_parameters()]
    wrapped = nn.DataParallel(nn.ConvTranspose2d(4, 2, 3))
    assert module_dims(wrapped) == {"module.weight": (0, 2, 3), "module.bias": ()}


def test_parametrized_weights_follow_their_layer():
    layer = parametrizations.weight_norm(nn.ConvTranspose2d(3, 2, 3))
    dims = module_dims(nn.Sequential(layer))
    assert dims["0.parametrizations.weight.original1"] == (0, 2, 3)  # the direction, of the weight's shape
    assert dims["0.parametrizations.weight.original0"] == ()  # the lengths
    layer = parametrizations.spectral_norm(nn.ConvTranspose2d(3, 2, 3))
    state = {name: value.clone() for name, value in layer.state_dict().items()}
    assert module_dims(layer)["parametrizations.weight.original"] == (0, 2, 3)
    assert all(torch.equal(value, state[name]) for name, value in layer.state_dict().items())  # nothing was run


def test_a_lazy_module_is_refused_until_it_has_a_shape():
    layer = nn.LazyLinear(3)
    for rule in (module_dims, row_dims):
        with pytest.raises(ValueError, match="'weight' of a lazy module has no shape yet; run the model once"):
            rule(layer)
    layer(torch.zeros(1, 2))
    assert module_dims(layer)["weight"] == (1,)
