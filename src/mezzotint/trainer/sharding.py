"""Weights divided among processes (FSDP), for networks that do not fit on one device.

Each process keeps a slice of every weight, and of its gradient, its averages and the optimizer's
moments. The weights of a block of the network are put together only while the block computes.
Whole tensors are needed for checkpoints and samples only.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mezzotint import devices
from mezzotint.errors import UserError
from mezzotint.networks.custom import Custom


def shard(net: nn.Module, device: torch.device) -> None:
    """Divide a network among all processes, block by block, and move it to a device.

    The weights that belong to no block are gathered from all processes in the forward pass, and
    divided again after the backward pass. In a user's own network every weight is treated in this
    way, because the network's blocks are not known.

    Raises:
        UserError: If a weight has no dimension to divide.
    """
    from torch.distributed.fsdp import fully_shard

    if scalar := next((name for name, p in net.named_parameters() if not p.ndim), None):
        raise UserError(
            f"`shard` cannot divide the weight {scalar}, which is a single number without "
            "dimensions: give it the shape (1,)"
        )
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    mesh = devices.mesh(device)
    for block in blocks(net):
        fully_shard(block, mesh=mesh)
    fully_shard(net, mesh=mesh)


def sharded(net: nn.Module, device: torch.device) -> nn.Module:
    """Copy a network, divide the copy among all processes by `shard`, and return it."""
    net = copy.deepcopy(net)
    shard(net, device)
    return net


def blocks(net: nn.Module) -> list[nn.Module]:
    """Return the blocks of a network: the layers in its ModuleLists that have a forward pass."""
    if isinstance(net, Custom):
        return []
    lists = [each for each in net.modules() if isinstance(each, nn.ModuleList)]
    layers = [layer for each in lists for layer in each if any(True for _ in layer.parameters())]
    return [layer for layer in layers if type(layer).forward is not nn.Module.forward]


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor, put together if it is divided. All processes must call this."""
    found: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return found


def gathered(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Put divided tensors together in the first process's memory; other processes return {}."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        each = whole(tensor)
        if torch.distributed.get_rank() == 0:
            found[name] = each.cpu()
    return found


def like(tensor: Tensor, weight: Tensor | None) -> Tensor:
    """Divide a tensor over the processes in the same way as ``weight``.

    If the weight is None or not divided, return the tensor unchanged.
    """
    from torch.distributed.tensor import DTensor, distribute_tensor

    if not isinstance(weight, DTensor):
        return tensor
    # Every process has the whole tensor, so none is sent.
    return distribute_tensor(
        tensor.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None
    )


def divided(tensors: Mapping[str, Tensor], net: nn.Module) -> dict[str, Tensor]:
    """Divide tensors over the processes like the weights of the same names in ``net``."""
    now = net.state_dict()
    return {name: like(tensor, now.get(name)) for name, tensor in tensors.items()}
