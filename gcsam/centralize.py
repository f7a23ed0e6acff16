"""The projection P of gradient centralization, its random control, and its axis rules: pure functions of tensors.

P subtracts from each row its mean; a row is the fan-in of one output: all weights that feed one unit. It is an
orthogonal projection, P = P^T = P^2 (Yong et al., ECCV 2020, arXiv 2004.01461). What is a row depends on the kind of
layer, so there are two rules: by shape alone (`tensor_dims`) and by module type (`module_dims`).

Proved right by: the matrix of P formed column by column (symmetric, idempotent, right null space), and by perturbing
one row of every layer type and looking at which outputs move (`tests/gcsam/test_centralize.py`).
Cost: one pass over the gradient to read it and one to write; the rules look at shapes only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

__all__ = ["centralize", "module_dims", "random_directions", "remove_component", "row_dims", "tensor_dims"]

_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_FAN_IN_MODULES = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase)
_VECTOR_NAMES = ("token", "pos", "embed")


def centralize(gradient: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """Subtract from a gradient its mean over the given axes.

    Args:
        gradient: Any shape, floating point or complex. It is never written to.
        dims: Axes to average over. None takes `tensor_dims(gradient.shape)`: all but the first, and none for a 1-D
            tensor or one with a single element per row. An empty sequence leaves the gradient alone.

    Returns:
        P(gradient), of the same shape, dtype and device. Where nothing is averaged it is `gradient` itself.

    Raises:
        IndexError: An axis that the gradient does not have.

    Example:
        >>> import torch
        >>> centralize(torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]]))
        tensor([[-2., -1.,  3.],
                [-1., -1.,  2.]])
    """
    dims = tensor_dims(gradient.shape) if dims is None else tuple(dims)
    return gradient - gradient.mean(dim=dims, keepdim=True) if dims else gradient


def random_directions(shape: Sequence[int], dims: Sequence[int], generator: torch.Generator) -> Tensor:
    """Draw one unit vector for each row: the directions that a random projection of the rank of P removes.

    P removes from each row its component along (1, ..., 1). Removing the component along a random direction instead,
    another one in each row, takes as many dimensions away at the same places. It is the control of P: what P does
    beyond it is owed to the direction (1, ..., 1), the rest to being a projection.

    Args:
        shape: Of the weight.
        dims: Axes that make up one row; at least one.
        generator: Drawn from on the CPU in float64, so that a seed means the same on every device.

    Returns:
        A tensor of that shape, float64 on the CPU: Gaussian, then normalized row by row, so uniform on the sphere.
    """
    directions = torch.randn(tuple(shape), dtype=torch.float64, generator=generator)
    return directions / directions.square().sum(tuple(dims), keepdim=True).sqrt()


def remove_component(gradient: Tensor, directions: Tensor, dims: Sequence[int]) -> Tensor:
    """Subtract from each row of a gradient its component along the unit vector of that row.

    Args:
        gradient: [..., *shape]; leading axes are samples.
        directions: [*shape], from `random_directions`.
        dims: Axes of the gradient that make up one row.

    Returns:
        The projected gradient; the one given is not written to.

    Example:
        >>> remove_component(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.6, 0.8]]), (1,))
        tensor([[-0.3200,  0.2400]])
    """
    return gradient - (gradient * directions).sum(tuple(dims), keepdim=True) * directions


def tensor_dims(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the axes P averages over when only the shape is known: all but the first.

    Args:
        shape: Of the weight.

    Returns:
        Axes; () for fewer than two axes (biases, norm scales), and for one element per row, because there P would
        make the gradient zero and the weight would never train.

    Example:
        >>> tensor_dims((8, 3, 5, 5)), tensor_dims((8,)), tensor_dims((8, 1))
        ((1, 2, 3), (), ())
    """
    return _centered(shape, tuple(range(1, len(shape))))


def module_dims(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the axes P averages over for every parameter of a model, by the type of the module that holds it.

    | held by | axes |
    | --- | --- |
    | linear, bilinear, convolution, recurrent | all but axis 0; fused gates and QKV keep one row per output |
    | transposed convolution | all but axis 1, its output axis |
    | the same, groups == in_channels > 1 | the kernel axes: each (input, output) pair is one output channel |
    | the same, other groups > 1 | none: axis 0 mixes the groups with the fan-in, so that no set of axes is a row |
    | `Conv1D` of transformers (by class name) | all but axis 1: its weight is [in, out] |
    | embedding, embedding bag | none: a row is the vector of one word, not the fan-in of a unit |
    | norm layers of any dimension | none |
    | other modules | as `tensor_dims`, but none where axis 0 has length 1 or the name holds "token", "pos" or "embed" |

    In every case there are none for fewer than two axes or one element per row. The last line leaves alone class
    tokens, position tables, and `bias_k` and `bias_v` of `nn.MultiheadAttention`; its projections keep their rows.
    The largest tensor stored for a parametrized weight (`torch.nn.utils.parametrize`: the direction of a weight norm,
    the only one of a spectral norm) follows the module that uses the weight; the others follow their shape.
    A tied weight follows the first of its names.

    Args:
        model: Any network; it is not run.

    Returns:
        Parameter name, as in `model.named_parameters()`, to axes. Every parameter is there; () means left alone.

    Raises:
        ValueError: A lazy module has not seen data yet.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.ConvTranspose2d(4, 2, 3), torch.nn.BatchNorm2d(2))
        >>> module_dims(model)
        {'0.weight': (0, 2, 3), '0.bias': (), '1.weight': (), '1.bias': ()}
    """
    return _each_parameter(model, _module_rule)


def row_dims(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the axes that make up one row (filter) of every parameter, for filter normalization.

    The rows are those of `module_dims`, with three differences: a row of one element keeps its axes; embeddings,
    tokens and position tables have one row per vector (the last axis); a grouped transposed convolution whose rows
    no set of axes describes is cut along axis 0, as Li et al. (arXiv 1712.09913) cut every tensor.

    Args:
        model: Any network; it is not run.

    Returns:
        Parameter name to axes; () for tensors of fewer than two axes and for norm layers.

    Raises:
        ValueError: A lazy module has not seen data yet.

    Example:
        >>> import torch
        >>> row_dims(torch.nn.Sequential(torch.nn.Embedding(9, 4), torch.nn.Linear(1, 3)))
        {'0.weight': (1,), '1.weight': (1,), '1.bias': ()}
    """
    return _each_parameter(model, _row_rule)


def _each_parameter(
    model: nn.Module, rule: Callable[[nn.Module, str, Tensor], tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    dims = {}
    for name, parameter in model.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise ValueError(f"parameter {name!r} of a lazy module has no shape yet; run the model once on a batch")
        module, own_name = _holder(model, name, parameter)
        dims[name] = rule(module, own_name, parameter)
    return dims


def _holder(model: nn.Module, name: str, parameter: Tensor) -> tuple[nn.Module, str]:
    """Return the module whose type decides, and the parameter's name in it."""
    path, _, own_name = name.rpartition(".")
    outer, is_parametrized, inner = path.rpartition("parametrizations.")
    module = model.get_submodule(path)
    if is_parametrized and parameter.numel() == max(stored.numel() for stored in module.parameters(recurse=False)):
        return model.get_submodule(outer.rstrip(".")), inner  # "conv.parametrizations.weight.original1": conv.weight
    if isinstance(module, (nn.ParameterList, nn.ParameterDict)):  # the list has the telling name, not its entries
        own_name = f"{path.rpartition('.')[2]}.{own_name}"
    return module, own_name


def _module_rule(module: nn.Module, own_name: str, parameter: Tensor) -> tuple[int, ...]:
    if _is_norm(module) or _is_table(module, own_name, parameter) or _has_mixed_groups(module):
        return ()
    return _centered(parameter.shape, _row_axes(module, parameter))


def _row_rule(module: nn.Module, own_name: str, parameter: Tensor) -> tuple[int, ...]:
    if _is_norm(module) or parameter.ndim < 2:
        return ()
    return (parameter.ndim - 1,) if _is_table(module, own_name, parameter) else _row_axes(module, parameter)


def _row_axes(module: nn.Module, parameter: Tensor) -> tuple[int, ...]:
    axes = tuple(range(parameter.ndim))
    if isinstance(module, nn.modules.conv._ConvTransposeNd) and not _has_mixed_groups(module):
        return axes[2:] if module.groups > 1 else axes[:1] + axes[2:]
    if _is_input_first(module):
        return axes[:1] + axes[2:]
    return axes[1:]


def _has_mixed_groups(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.conv._ConvTransposeNd) and module.groups not in {1, module.in_channels}


def _is_input_first(module: nn.Module) -> bool:
    """Whether the module is the `Conv1D` of transformers, by name, because that library need not be installed."""
    return any(base.__name__ == "Conv1D" for base in type(module).__mro__)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _NORMS)


def _is_table(module: nn.Module, own_name: str, parameter: Tensor) -> bool:
    """Whether the parameter is a list of vectors (words, positions, tokens) and not the fan-in of units."""
    if isinstance(module, _FAN_IN_MODULES) or _is_input_first(module) or parameter.ndim < 2:
        return False
    is_named_so = any(part in own_name.lower() for part in _VECTOR_NAMES)
    return isinstance(module, (nn.Embedding, nn.EmbeddingBag)) or parameter.shape[0] == 1 or is_named_so


def _centered(shape: Sequence[int], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes, or () where P must leave the tensor alone."""
    return axes if len(shape) >= 2 and math.prod([shape[axis] for axis in axes]) > 1 else ()
