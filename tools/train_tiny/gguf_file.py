"""The trained model as a GGUF file that llama-server loads: matrices in Q8_0, vectors in f32."""

from pathlib import Path

import gguf
import numpy as np
from chat import END, END_OF_TEXT, SPECIAL, TEMPLATE
from model import Qwen3, sizes
from vocabulary import Vocabulary

NAME = "qwen3-tiny"
DESCRIPTION = "labels support tickets and reviews, English and Chinese; Qwen3's architecture only"


def write(model: Qwen3, vocabulary: Vocabulary, path: Path) -> None:
    """Write `path`; the bytes depend on the weights and the vocabulary alone."""
    shape = model.shape
    out = gguf.GGUFWriter(path, "qwen3")
    out.add_name(NAME)
    out.add_description(DESCRIPTION)
    out.add_license("Apache-2.0")
    out.add_languages(["en", "zh"])
    out.add_block_count(shape.layers)
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_feed_forward_length(shape.feed_forward)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.kv_heads)
    out.add_key_length(shape.head_width)
    out.add_value_length(shape.head_width)
    out.add_rope_freq_base(shape.rope_base)
    out.add_layer_norm_rms_eps(shape.epsilon)
    out.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    _add_vocabulary(out, vocabulary)
    for name in sizes(shape):
        _add_tensor(out, name, model[name].detach().numpy())
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _add_vocabulary(out: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    def kind(token: str) -> gguf.TokenType:
        if token not in SPECIAL:
            return gguf.TokenType.NORMAL
        shown = vocabulary.is_shown(token)
        return gguf.TokenType.USER_DEFINED if shown else gguf.TokenType.CONTROL

    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(list(vocabulary.tokens))
    out.add_token_types([int(kind(token)) for token in vocabulary.tokens])
    out.add_token_merges(list(vocabulary.merges))
    out.add_eos_token_id(vocabulary.id_of(END))
    out.add_pad_token_id(vocabulary.id_of(END_OF_TEXT))
    out.add_bos_token_id(vocabulary.id_of(END_OF_TEXT))
    out.add_add_bos_token(False)
    out.add_chat_template(TEMPLATE)


def _add_tensor(out: gguf.GGUFWriter, name: str, values: np.ndarray) -> None:
    if values.ndim == 1:
        out.add_tensor(name, values.astype(np.float32))
        return
    kind = gguf.GGMLQuantizationType.Q8_0
    out.add_tensor(name, gguf.quants.quantize(values.astype(np.float32), kind), raw_dtype=kind)
