"""A byte-level BPE vocabulary over the bilingual corpus, split like Qwen2's and Qwen3's."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chat import END_THINK, SPECIAL, THINK
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

QWEN2_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""The engine calls it `qwen2`; the same text is cut the same way here and there."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens by id (special ones last), merges in order."""

    tokenizer: Tokenizer
    tokens: tuple[str, ...]
    merges: tuple[str, ...]

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text; special tokens in it are recognised."""
        return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]

    def id_of(self, special: str) -> int:
        return self.tokens.index(special)

    @staticmethod
    def is_shown(special: str) -> bool:
        """Whether a special token appears in the answer's text, as Qwen3's think tags do."""
        return special in (THINK, END_THINK)


def learn(texts: Iterable[str], size: int) -> Vocabulary:
    """A vocabulary of `size` tokens, the special ones included."""
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated")
    to_bytes = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, to_bytes])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL])
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    by_id = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    return Vocabulary(
        tokenizer,
        tuple(token for token, _ in by_id),
        tuple(" ".join(merge) for merge in merges),
    )
