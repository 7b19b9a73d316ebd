"""One run on several processes. Scores: every rank passes its own batches, then every block is assigned to one rank.

Sequences do not interact, so rank r passes the batches r, r + size, ... alone. Products between sequences need the
pairs of all batches. Each module's pairs are sent to the rank of its block (block k to rank k mod size). That rank
orders the pairs by batch and computes exactly what a single process computes from the same batches. The few numbers
per block are then summed over the ranks; all ranks but the block's own hold zeros.

Measurements of single blocks, and evaluations of different plans, are independent: each is made by one rank, exactly as
a single process makes it, and all ranks receive its numbers.

`joined` reads the environment that `torchrun` sets. gloo sends tensors on the CPU, nccl tensors on CUDA.
"""

import gc
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import debug

from zetaplan.errors import ScoringError
from zetaplan.scoring.backward.pair_store import named, pair_of
from zetaplan.scoring.backward.per_sequence import LINEAR, Pair, Pairs
from zetaplan.scoring.model.blocks import decoder_layers

#: Seconds without a message after which another rank counts as lost; ZETAPLAN_TIMEOUT overrides.
TIMEOUT = 1800.0

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among the processes of the run; by default the only one.

    Attributes:
        rank: index of this process; rank 0 writes the results.
        size: number of processes.
        device: the device through which tensors are sent.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  immutable

    @property
    def alone(self) -> bool:
        return self.size == 1

    def share(self, items: Sequence[T]) -> Sequence[T]:
        """The batches or blocks that are assigned to this rank."""
        return items[self.rank :: self.size]

    def rounds(self, blocks: Sequence[Sequence[T]]) -> Iterator[tuple[T | None, ...]]:
        """The items of the blocks, one per rank and round, so that all ranks work at the same time."""
        owned = [[item for block in blocks[rank :: self.size] for item in block] for rank in range(self.size)]
        return zip_longest(*owned)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the ranks, on the CPU."""
        if self.alone:
            return values
        placed = values.to(self.device, copy=True)
        dist.all_reduce(placed)
        return placed.cpu()

    def column(self, owned: NDArray[np.float64], blocks: int) -> NDArray[np.float64]:
        """The values (K, ...) of all blocks from the values (k, ...) of this rank's blocks."""
        if self.alone:
            return owned
        everything = np.zeros((blocks, *owned.shape[1:]))
        everything[self.rank :: self.size] = owned
        return self.total(torch.from_numpy(everything)).numpy()

    def agree(self, yes: bool) -> bool:
        """Whether `yes` is true on every rank."""
        return int(self.total(torch.tensor([int(yes)]))) == self.size

    def shared(self, value: Any) -> list[Any]:
        """The JSON-serialisable values of all ranks, in the order of the ranks; floating-point numbers are exact.

        Every rank calls it with its own value.
        """
        if self.alone:
            return [value]
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = torch.zeros(self.size, dtype=torch.int64)
        sizes[self.rank] = len(own)
        sizes = self.total(sizes)
        rows = torch.zeros(self.size, int(sizes.max()), dtype=torch.uint8)
        rows[self.rank, : len(own)] = own
        found = zip(self.total(rows), sizes.tolist(), strict=True)
        return [json.loads(row[:size].numpy().tobytes()) for row, size in found]

    def collected(self, owner: int, pairs: Pairs, batches: int) -> Pairs:
        """The pairs of all batches in batch order on the rank `owner`, and [] on the other ranks.

        Every rank calls it with its own pairs.
        """
        if self.rank != owner:
            for pair in pairs:
                self._send(pair, owner)
            return []
        own = iter(pairs)
        sources = (batch % self.size for batch in range(batches))
        return [next(own) if source == owner else self._receive(pairs[0], source) for source in sources]

    def _send(self, pair: Pair, to: int) -> None:
        tensors = named(pair).values()
        dist.send(torch.tensor([n for t in tensors for n in t.shape], device=self.device), to)
        for tensor in tensors:
            dist.send(tensor.to(self.device).contiguous(), to)

    def _receive(self, like: Pair, source: int) -> Pair:
        """Receive a pair of the same module, whose tensors have the types of `like`: the shapes, then the values."""
        kinds = named(like)
        sizes = torch.empty(sum(t.ndim for t in kinds.values()), dtype=torch.int64, device=self.device)
        dist.recv(sizes, source)
        shapes = iter(sizes.tolist())
        found = {}
        for name, kind in kinds.items():
            found[name] = torch.empty([next(shapes) for _ in kind.shape], dtype=kind.dtype, device=self.device)
            dist.recv(found[name], source)
        return pair_of({name: tensor.to(kinds[name].device) for name, tensor in found.items()})

    def require(self, blocks: int, batches: int, sharded: bool) -> None:
        """Raise ScoringError unless every rank has a block and a batch, and if `sharded` equally many batches."""
        if self.size > min(blocks, batches):
            raise ScoringError(
                f"ranks: {self.size} processes for {blocks} blocks and {batches} batches; every process needs a block "
                "and a batch: give a smaller batch_size, or fewer processes"
            )
        if sharded and batches % self.size:
            raise ScoringError(
                f"shard: {batches} batches do not divide evenly among {self.size} processes, which must run their "
                "passes together; give a batch_size whose number of batches does"
            )


def place_of_this_process(device: str) -> tuple[str, bool]:
    """The device of this process under torchrun (its own of several GPUs), and whether this process is rank 0."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several and device == "cuda":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return device, not several or os.environ.get("RANK") == "0"


@contextmanager
def joined(distributed: bool, device: torch.device) -> Iterator[Ranks]:
    """The ranks of this run, from torchrun's environment; a single rank without it, or if `distributed` is false.

    Raises:
        ScoringError: another rank is lost or does not respond. With a cache, what this rank finished is kept.
    """
    if not distributed or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    own = not dist.is_initialized()
    try:
        if own:
            seconds = float(os.environ.get("ZETAPLAN_TIMEOUT", TIMEOUT))
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=seconds))
        yield Ranks(dist.get_rank(), dist.get_world_size(), device if device.type == "cuda" else torch.device("cpu"))
    except RuntimeError as error:
        if not _is_lost(error):
            raise
        raise ScoringError(
            f"rank {os.environ.get('RANK')}: another process of the run is lost or silent ({str(error)[:200]}); "
            "start the same command again: with a cache, finished parts are not computed again"
        ) from error
    finally:
        if own and dist.is_initialized():
            _forget_meshes()
            dist.destroy_process_group()


def _forget_meshes() -> None:
    """Delete the references to the meshes of `sharded`, so that destroying the process group ends its threads.

    DTensor caches every mesh that it has propagated, and a mesh holds its group. A thread of gloo that frees its last
    tensor while the interpreter shuts down aborts the process.
    """
    getattr(debug, "_clear_sharding_prop_cache", int)()  # private: without it the race remains
    gc.collect()  # modules under fully_shard refer to themselves


def _is_lost(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower()


def sharded(model: nn.Module, ranks: Ranks) -> nn.Module:
    """Split the weights of every linear of a decoder layer, and of all modules outside the layers, over the ranks.

    The other parameters of a layer (norms, experts) stay whole on every rank, because their gradients are computed by
    differentiating the module itself.
    """
    model.requires_grad_(False)
    mesh = init_device_mesh(ranks.device.type, (ranks.size,))
    whole = set()
    for _, layer in decoder_layers(model):
        others = (module for module in layer.modules() if type(module) not in LINEAR)
        kept = {p for module in others for p in module.parameters(recurse=False)}
        for parameter in kept:
            parameter.data = parameter.data.to(ranks.device)
        fully_shard(layer, mesh=mesh, ignored_params=kept)
        whole |= kept
    fully_shard(model, mesh=mesh, ignored_params=whole)
    return model
