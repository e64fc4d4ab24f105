"""A frozen layer and its LoRA as one step of autograd.

y = W x + b + s B A x. Written with PyTorch's own operations, a LoRA is a chain of small ones whose bookkeeping takes
longer than their arithmetic, and the scaled addition passes over the whole output again, forward and backward. Here
B A x is added into the output in place by the multiplication itself, and so is the LoRA's share of the gradient of x.
W has no gradient. The scale is put into A, the smallest of the factors. With rows x [N, in], h = s A x^T [r, N] and
g = B^T dy^T [r, N], as wide as they can be, since processors multiply narrow columns several times slower:

    dx = dy W + g^T (s A),    dA = s g x,    dB = (h dy)^T.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


def fits(module: nn.Module) -> bool:
    """Whether this kind of layer can be done so: a linear one, or a 1x1 convolution, which is linear in each place."""
    if isinstance(module, nn.Linear):
        return True
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and module.stride == (1, 1)
        and module.padding == (0, 0)
        and module.groups == 1
    )


def is_plain(module: nn.Module, x: Tensor) -> bool:
    """Whether the layer is nothing but its own weight, as it stands there, applied to x.

    8-bit weights, those of another type than x, which the host casts as it goes, and tensors that only look like
    weights (packed ones) are not; neither is a layer whose weight the host changes on the way.
    """
    weight = module.weight
    return (
        type(weight) in (Tensor, nn.Parameter)
        and weight.dtype == x.dtype
        and weight.device == x.device
        and not weight.requires_grad
        # The host's list of patches that are put on a weight at every call.
        and not getattr(module, "weight_function", None)
        and not torch.is_autocast_enabled(x.device.type)
    )


def with_lora(module: nn.Module, x: Tensor, down: Tensor, up: Tensor, scale: float) -> Tensor:
    """The layer's answer plus `scale * up(down(x))`, for one that `fits` and `is_plain`.

    x is [..., in] for a linear layer, [B, in, h, w] for a convolution; `down` is [r, in, ...], `up` [out, r, ...].
    Differentiable, once, in x, `down` and `up`.
    """
    kind: Any = _Linear if down.ndim == 2 else _Pointwise
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)
    # `kind.apply` would first look, in Python, at every argument for transforms of functions, which nothing here is
    # under: about a fifteenth of a small layer's forward and backward.
    out: Tensor = super(torch.autograd.Function, kind).apply(x, down, up, _Still(weight, bias, scale))
    return out


class _Still(NamedTuple):
    """The frozen part of it."""

    weight: Tensor
    bias: Tensor | None
    scale: float


class _Linear(torch.autograd.Function):
    """For x of rows."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, still: _Still) -> Tensor:
        weight, bias, scale = still
        width, depth = weight.shape
        rows = x if x.ndim == 2 else x.reshape(-1, depth)
        a, b = _scaled(down, scale, x.dtype), up.to(x.dtype)
        # Of x's own shape from the start: some models change an answer in place, which autograd forbids for views.
        out = x.new_empty(*x.shape[:-1], width)
        flat = out if x.ndim == 2 else out.view(-1, width)
        if bias is None:
            torch.mm(rows, weight.t(), out=flat)
        else:
            torch.addmm(bias, rows, weight.t(), out=flat)
        h = torch.mm(a, rows.t())
        flat.addmm_(h.t(), b.t())
        ctx.save_for_backward(rows, h, a, b)
        ctx.still, ctx.shape, ctx.dtype = still, x.shape, down.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, h, a, b = ctx.saved_tensors
        dy, dx = grad if grad.ndim == 2 else grad.reshape(-1, grad.shape[-1]), None
        g = torch.mm(b.t(), dy.t())
        if ctx.needs_input_grad[0]:
            dx = torch.mm(dy, ctx.still.weight).addmm_(g.t(), a).view(ctx.shape)
        da, db = _scaled(torch.mm(g, rows), ctx.still.scale, ctx.dtype), torch.mm(h, dy).t().to(ctx.dtype)
        return dx, da, db, None


class _Pointwise(torch.autograd.Function):
    """For x of images, channels first: the same with columns for rows, image by image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, down: Tensor, up: Tensor, still: _Still) -> Tensor:
        weight, bias, scale = still
        a, b, columns = _scaled(down.flatten(1), scale, x.dtype), up.flatten(1).to(x.dtype), x.flatten(2)
        # A convolution would do, and takes longer than the multiplication that it is.
        out = x.new_empty(len(x), len(weight), *x.shape[2:])
        flat = out.flatten(2)
        if bias is None:
            torch.bmm(_each(weight.flatten(1), x), columns, out=flat)
        else:
            torch.baddbmm(bias[:, None], _each(weight.flatten(1), x), columns, out=flat)
        h = torch.bmm(_each(a, x), columns)
        flat.baddbmm_(_each(b, x), h)
        ctx.save_for_backward(columns, h, a, b)
        ctx.still, ctx.shape, ctx.dtype = still, x.shape, down.dtype
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        columns, h, a, b = ctx.saved_tensors
        dy, dx = grad.flatten(2), None
        g = torch.bmm(_each(b.t(), dy), dy)
        if ctx.needs_input_grad[0]:
            dx = torch.bmm(_each(ctx.still.weight.flatten(1).t(), dy), dy)
            dx = dx.baddbmm_(_each(a.t(), dy), g).view(ctx.shape)
        da = _scaled(torch.bmm(g, columns.transpose(1, 2)).sum(0), ctx.still.scale, ctx.dtype)
        db = torch.bmm(h, dy.transpose(1, 2)).sum(0).t().to(ctx.dtype)
        return dx, da[..., None, None], db[..., None, None], None


def _each(matrix: Tensor, images: Tensor) -> Tensor:
    """The same matrix for every image, without a copy; left to itself, PyTorch would turn the images round instead."""
    return matrix.expand(len(images), *matrix.shape)


def _scaled(tensor: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    return tensor.to(dtype) if scale == 1 else (tensor * scale).to(dtype)
