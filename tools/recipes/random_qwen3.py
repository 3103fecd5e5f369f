"""A GGUF in the shape of Qwen3-0.6B with random weights: its true size and speed, no sense.

The vocabulary is the real one of Qwen2 (in llama.cpp's source), with the names that Qwen3 added, so
token counts are true, too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

ADDED = (  # Qwen3's names of the 23 slots behind Qwen2's last token
    *("<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>"),
    *("<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>"),
    *("<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    *("<tool_response>", "</tool_response>", "<think>", "</think>"),
)
SHOWN = {
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
}
SEED = 0


@dataclass(frozen=True, slots=True)
class Shape:
    """Of Qwen3-0.6B, from its config.json."""

    layers: int = 28
    width: int = 1024
    heads: int = 16
    kv_heads: int = 8
    head_width: int = 128
    feed_forward: int = 3072
    context: int = 40960


QWEN3_06B = Shape()


def write(path: Path, vocabulary: Path, template: Path, shape: Shape = QWEN3_06B) -> int:
    """Write the model with matrices in f16; return its number of parameters."""
    out = gguf.GGUFWriter(path, "qwen3")
    out.add_name("qwen3-0.6b-random")
    out.add_description("random weights: for size and speed only")
    out.add_block_count(shape.layers)
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_feed_forward_length(shape.feed_forward)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head_width)
    out.add_value_length(shape.head_width)
    out.add_rope_freq_base(1_000_000.0)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    tokens = _add_vocabulary(out, vocabulary)
    out.add_chat_template(template.read_text(encoding="utf-8"))
    sizes = dict(_sizes(shape, tokens))
    for name, size in sizes.items():
        kind = np.dtype(np.float32 if len(size) == 1 else np.float16)
        out.add_tensor_info(name, size, kind, int(np.prod(size)) * kind.itemsize)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_ti_data_to_file()
    rng = np.random.default_rng(SEED)
    for name, size in sizes.items():
        out.write_tensor_data(_weights(name, size, rng))
    out.close()
    return sum(int(np.prod(size)) for size in sizes.values())


def _add_vocabulary(out: gguf.GGUFWriter, vocabulary: Path) -> int:
    fields = gguf.GGUFReader(vocabulary).fields
    tokens = list(fields["tokenizer.ggml.tokens"].contents())
    kinds = list(fields["tokenizer.ggml.token_type"].contents())
    end_of_text = tokens.index("<|endoftext|>")
    for i, name in enumerate(ADDED, end_of_text + 3):  # after <|im_start|> and <|im_end|>
        shown = name in SHOWN
        tokens[i] = name
        kinds[i] = int(gguf.TokenType.USER_DEFINED if shown else gguf.TokenType.CONTROL)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(tokens)
    out.add_token_types(kinds)
    out.add_token_merges(fields["tokenizer.ggml.merges"].contents())
    out.add_eos_token_id(end_of_text + 2)
    out.add_pad_token_id(end_of_text)
    out.add_bos_token_id(end_of_text)
    out.add_add_bos_token(False)
    return len(tokens)


def _sizes(shape: Shape, tokens: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    queries = shape.heads * shape.head_width
    keys = shape.kv_heads * shape.head_width
    yield "token_embd.weight", (tokens, shape.width)
    for layer in range(shape.layers):
        for name, size in (
            ("attn_q", (queries, shape.width)),
            ("attn_k", (keys, shape.width)),
            ("attn_v", (keys, shape.width)),
            ("attn_output", (shape.width, queries)),
            ("ffn_gate", (shape.feed_forward, shape.width)),
            ("ffn_up", (shape.feed_forward, shape.width)),
            ("ffn_down", (shape.width, shape.feed_forward)),
            ("attn_norm", (shape.width,)),
            ("ffn_norm", (shape.width,)),
            ("attn_q_norm", (shape.head_width,)),
            ("attn_k_norm", (shape.head_width,)),
        ):
            yield f"blk.{layer}.{name}.weight", size
    yield "output_norm.weight", (shape.width,)


def _weights(name: str, size: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    if len(size) == 1:
        return np.ones(size, np.float32)
    scale = 0.02 if name.startswith("token") else size[1] ** -0.5
    return (rng.standard_normal(size, dtype=np.float32) * scale).astype(np.float16)
