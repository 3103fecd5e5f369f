"""What an emulated fleet says: text that tells no model ran, in the language of the request.

Pure. A token of an emulated answer is one piece of its text; a prompt's tokens are estimated.
"""

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

Language = Literal["en", "zh-Hans", "zh-Hant"]
FinishReason = Literal["stop", "length"]

BYTES_PER_TOKEN = 4  # of ASCII text; the usual rule of thumb for byte-pair vocabularies
BYTES_PER_TOKEN_OTHER = 3  # of other alphabets (Cyrillic, Arabic, accents), in UTF-8
TOKENS_MEDIAN = 120  # of an answer that ends by itself: lognormal, as chat traffic is
TOKENS_SIGMA = 0.6
TOKENS_MAX = 1024
LETTERS_PER_HAN = 4  # a Chinese character says about as much as four Latin letters
LANGUAGE_CHARS = 2000  # are looked at
JSON_PIECE = 4  # characters

_WIDE = re.compile(
    "[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_KANA_OR_HANGUL = re.compile("[\u3040-\u30ff\uac00-\ud7af]")
_LATIN = re.compile("[A-Za-z]")
# Frequent characters of which the other script writes another form, pair by pair.
_SIMPLIFIED = frozenset(
    "这个们来说时会为学对过国没还与体点请问题应该将关写开吗么译语词证数给让样现发电话经长门间车书东买卖单价钱"
)
_TRADITIONAL = frozenset(
    "這個們來說時會為學對過國沒還與體點請問題應該將關寫開嗎麼譯語詞證數給讓樣現發電話經長門間車書東買賣單價錢"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Exactly `tokens` pieces: the head, then the filler over and over."""

    head: Sequence[str]
    filler: Sequence[str]
    tokens: int
    finish_reason: FinishReason

    def text(self, start: int, end: int) -> str:
        """Return tokens `start` to `end` (exclusive) as text."""
        head = self.head[start:end]
        first, last = max(start - len(self.head), 0), end - len(self.head)
        size = len(self.filler)
        return "".join(head) + "".join(self.filler[i % size] for i in range(first, last))


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an answer may be. `most` is the output limit, of the request or of the context."""

    most: int
    least: int = 0
    ignore_eos: bool = False
    stop: Sequence[str] = ()


_NOTICE: dict[Language, tuple[tuple[str, ...], tuple[str, ...], str]] = {  # head, filler, note
    "en": (
        ("[emulated", " {}", ":", " no", " model", " ran", "]"),
        (" These", " words", " only", " take", " the", " place", " of", " an", " answer", "."),
        "no model ran",
    ),
    "zh-Hans": (
        ("[模拟", " {}", "——", "没有", "运行", "模型", "]"),
        ("这些", "文字", "只", "用来", "代替", "回答", "的", "篇幅", "。"),
        "没有运行模型",
    ),
    "zh-Hant": (
        ("[模擬", " {}", "——", "沒有", "執行", "模型", "]"),
        ("這些", "文字", "只", "用來", "代替", "回答", "的", "篇幅", "。"),
        "沒有執行模型",
    ),
}


def answer(
    fleet_id: str, prompt: str, tongue: Language, limits: Limits, *, as_json: bool
) -> Answer:
    """Return the answer that this prompt always gets from this fleet under these limits."""
    head, filler, note = _NOTICE[tongue]
    if as_json:  # white space after it keeps it valid where more tokens are asked for
        value = {"emulated": True, "fleet": fleet_id, "note": note}
        text = json.dumps(value, ensure_ascii=False)
        head = tuple(text[i : i + JSON_PIECE] for i in range(0, len(text), JSON_PIECE))
        filler, natural = (" ",), len(head)
    else:
        head = tuple(piece.replace("{}", fleet_id) for piece in head)
        natural = max(len(head), natural_tokens(prompt))
    tokens = limits.most if limits.ignore_eos else max(natural, limits.least)
    reason: FinishReason = "length" if tokens > limits.most or limits.ignore_eos else "stop"
    whole = Answer(head, filler, min(tokens, limits.most), reason)
    return _stopped(whole, limits) if limits.stop else whole


def natural_tokens(prompt: str) -> int:
    """Return the length at which the answer to this prompt ends by itself."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=4).digest()
    share = (int.from_bytes(digest, "big") + 0.5) / 2**32
    tokens = TOKENS_MEDIAN * math.exp(TOKENS_SIGMA * NormalDist().inv_cdf(share))
    return min(max(round(tokens), 1), TOKENS_MAX)


def tokens_of(text: str) -> int:
    """Estimate the tokens of a text: a CJK character is one, other text goes by its bytes."""
    if text.isascii():
        return math.ceil(len(text) / BYTES_PER_TOKEN)
    rest = _WIDE.sub("", text)
    ascii_bytes = len(rest.encode("ascii", "ignore"))
    other_bytes = len(rest.encode()) - ascii_bytes
    wide = len(text) - len(rest)
    return wide + math.ceil(ascii_bytes / BYTES_PER_TOKEN + other_bytes / BYTES_PER_TOKEN_OTHER)


def language(text: str) -> Language:
    """Return the language to answer in: Chinese where that is most of the text, else English."""
    text = text[:LANGUAGE_CHARS]
    han = _HAN.findall(text)
    others = len(_KANA_OR_HANGUL.findall(text))
    if not han or others * 2 > len(han) or len(_LATIN.findall(text)) > LETTERS_PER_HAN * len(han):
        return "en"
    traditional = sum(char in _TRADITIONAL for char in han)
    simplified = sum(char in _SIMPLIFIED for char in han)
    return "zh-Hant" if traditional > simplified else "zh-Hans"


def _stopped(whole: Answer, limits: Limits) -> Answer:
    """End the answer before the stop text that is whole first, of those after `least` tokens."""
    pieces = [whole.text(i, i + 1) for i in range(whole.tokens)]
    text = "".join(pieces)
    start = len("".join(pieces[: limits.least]))
    found = [(text.find(stop, start), stop) for stop in limits.stop]
    hits = [(at + len(stop), at) for at, stop in found if at >= 0]
    if not hits:
        return whole
    end, cut = min(hits)
    kept: list[str] = []
    at = 0
    for piece in pieces:  # the tokens of the stop text itself are made, and not shown
        kept.append(piece[: max(cut - at, 0)])
        at += len(piece)
        if at >= end:
            break
    return Answer(kept, ("",), len(kept), "stop")
