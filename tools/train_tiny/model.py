"""Qwen3's architecture in a page of torch, with the tensor names of its GGUF files."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of a model; the embedding is tied to the output."""

    vocabulary: int
    layers: int = 3
    width: int = 128
    heads: int = 4
    kv_heads: int = 2
    head_width: int = 32
    feed_forward: int = 256
    context: int = 4096
    rope_base: float = 1_000_000.0
    epsilon: float = 1e-6


class Qwen3(nn.Module):
    """Token ids [batch, length] -> hidden states [batch, length, width]; see `logits`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.weights = nn.ParameterDict(
            {name.replace(".", "/"): _initial(name, size) for name, size in sizes(shape).items()}
        )

    def __getitem__(self, name: str) -> Tensor:
        return self.weights[name.replace(".", "/")]

    def forward(self, ids: Tensor) -> Tensor:
        x = self["token_embd.weight"][ids]
        rotation = self._rotation(ids.shape[1])
        for layer in range(self.shape.layers):
            block = f"blk.{layer}."
            x = x + self._attention(self._norm(x, f"{block}attn_norm"), block, rotation)
            x = x + self._feed_forward(self._norm(x, f"{block}ffn_norm"), block)
        return self._norm(x, "output_norm")

    def logits(self, hidden: Tensor) -> Tensor:
        return functional.linear(hidden, self["token_embd.weight"])

    def _attention(self, x: Tensor, block: str, rotation: tuple[Tensor, Tensor]) -> Tensor:
        shape, (batch, length, _) = self.shape, x.shape

        def heads(name: str, count: int) -> Tensor:
            projected = functional.linear(x, self[f"{block}attn_{name}.weight"])
            return projected.view(batch, length, count, shape.head_width)

        q = _rotate(self._norm(heads("q", shape.heads), f"{block}attn_q_norm"), rotation)
        k = _rotate(self._norm(heads("k", shape.kv_heads), f"{block}attn_k_norm"), rotation)
        v = heads("v", shape.kv_heads)
        q, k, v = (t.transpose(1, 2) for t in (q, k, v))
        each = shape.heads // shape.kv_heads
        mixed = functional.scaled_dot_product_attention(
            q, k.repeat_interleave(each, 1), v.repeat_interleave(each, 1), is_causal=True
        )
        joined = mixed.transpose(1, 2).reshape(batch, length, -1)
        return functional.linear(joined, self[f"{block}attn_output.weight"])

    def _feed_forward(self, x: Tensor, block: str) -> Tensor:
        gate = functional.silu(functional.linear(x, self[f"{block}ffn_gate.weight"]))
        up = functional.linear(x, self[f"{block}ffn_up.weight"])
        return functional.linear(gate * up, self[f"{block}ffn_down.weight"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.shape.epsilon)
        return x * scale * self[f"{name}.weight"]

    def _rotation(self, length: int) -> tuple[Tensor, Tensor]:
        width = self.shape.head_width
        frequency = self.shape.rope_base ** (-torch.arange(0, width, 2) / width)
        angle = torch.arange(length)[:, None] * frequency[None]
        return angle.cos()[None, :, None], angle.sin()[None, :, None]


def sizes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Every tensor's name and size, rows first."""
    width, ff = shape.width, shape.feed_forward
    q, kv = shape.heads * shape.head_width, shape.kv_heads * shape.head_width
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (shape.vocabulary, width)}
    for layer in range(shape.layers):
        block = {
            "attn_norm": (width,),
            "attn_q": (q, width),
            "attn_k": (kv, width),
            "attn_v": (kv, width),
            "attn_q_norm": (shape.head_width,),
            "attn_k_norm": (shape.head_width,),
            "attn_output": (width, q),
            "ffn_norm": (width,),
            "ffn_gate": (ff, width),
            "ffn_up": (ff, width),
            "ffn_down": (width, ff),
        }
        found |= {f"blk.{layer}.{name}.weight": size for name, size in block.items()}
    return found | {"output_norm.weight": (width,)}


def _initial(name: str, size: tuple[int, ...]) -> nn.Parameter:
    if len(size) == 1:
        return nn.Parameter(torch.ones(size))
    scale = 0.05 if name.startswith("token") else size[1] ** -0.5
    return nn.Parameter(torch.randn(size) * scale)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    (cos, sin), (a, b) = rotation, x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
