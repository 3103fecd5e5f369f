"""Muon: momentum whose every matrix is made near orthogonal before it is applied.

Here it needs about two thirds of AdamW's steps. In f32 and in stacks of matrices of one shape,
because small bf16 products are slow on a CPU.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ROUNDS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # Newton-Schulz coefficients of Jordan et al. (2024)
LIKE_ADAM = 0.2  # the size of an update is that of AdamW's, so that one learning rate serves both


class Muon:
    """Steps for matrices; the other parameters need another optimizer."""

    def __init__(self, matrices: Iterable[nn.Parameter]) -> None:
        self.by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
        for matrix in matrices:
            self.by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
        self.momentum = {shape: torch.zeros(len(of), *shape) for shape, of in self.by_shape.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every matrix against its gradient; the update has about AdamW's size."""
        for shape, matrices in self.by_shape.items():
            gradient = torch.stack([matrix.grad for matrix in matrices])
            momentum = self.momentum[shape].lerp_(gradient, 1 - MOMENTUM)
            updates = orthogonal(gradient.lerp(momentum, MOMENTUM))
            for matrix, update in zip(matrices, updates, strict=True):
                matrix.add_(update, alpha=-rate * LIKE_ADAM * max(shape) ** 0.5)


def orthogonal(stack: Tensor) -> Tensor:
    """[n, rows, columns] -> the same with all singular values near 1."""
    a, b, c = QUINTIC
    tall = stack.shape[1] > stack.shape[2]
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x
