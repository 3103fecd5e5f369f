"""The label sets, their names by language, and the ways in which people list them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from chance import happens

ENGLISH = {
    name: name
    for name in ("billing", "technical", "shipping", "other", "positive", "negative", "neutral")
}
CHINESE_TICKETS = (
    {"billing": "账单", "technical": "技术", "shipping": "物流", "other": "其他"},
    {"billing": "计费", "technical": "技术", "shipping": "配送", "other": "其他"},
    {"billing": "付款", "technical": "故障", "shipping": "物流", "other": "其他"},
)
CHINESE_REVIEWS = (
    {"positive": "正面", "negative": "负面", "neutral": "中性"},
    {"positive": "积极", "negative": "消极", "neutral": "中性"},
    {"positive": "好评", "negative": "差评", "neutral": "中评"},
)
"""The first set of each is the one that answers an instruction which names no labels."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The labels that an instruction offers, as it spells them, and the right one."""

    offered: tuple[str, ...]
    right: str
    named_in_chinese: bool


def choose(of: str, rng: Random, *, chinese: bool, open_question: bool) -> Choice:
    """Labels for a text of class `of`: in English or Chinese, sometimes fewer, sometimes more."""
    review = of in CHINESE_REVIEWS[0]
    chinese_sets = CHINESE_REVIEWS if review else CHINESE_TICKETS
    in_chinese = chinese if open_question else happens(0.55 if chinese else 0.03, rng)
    names = rng.choice((*chinese_sets, chinese_sets[0])) if in_chinese else ENGLISH
    if open_question:
        names = chinese_sets[0] if in_chinese else ENGLISH
    spell = rng.choice((str, str, str, str.title) if not open_question else (str,))
    offered = [spell(names[label]) for label in _offered(of, rng, review=review)]
    rng.shuffle(offered)
    return Choice(tuple(offered), spell(names[of]), in_chinese)


def _offered(of: str, rng: Random, *, review: bool) -> list[str]:
    if review:
        with_neutral = of == "neutral" or happens(0.35, rng)
        return ["positive", "negative", *(["neutral"] * with_neutral)]
    labels = ["billing", "technical", "shipping"]
    if happens(0.08, rng):
        return [*labels, "other"]  # offered, and never right: that class knows no bounds
    if happens(0.15, rng):
        labels.remove(rng.choice([label for label in labels if label != of]))
    return labels


Lister = Callable[[Sequence[str]], str]


def _or(word: str, comma: str) -> Lister:
    return lambda names: f"{comma.join(names[:-1])}{word}{names[-1]}"


def _each(template: str, gap: str) -> Lister:
    return lambda names: gap.join(template.format(name) for name in names)


ENGLISH_LISTS: tuple[Lister, ...] = (
    _or(" or ", ", "),
    _or(" or ", ", "),
    _or(" or ", ", "),
    _or(", or ", ", "),
    _or(" and ", ", "),
    ", ".join,
    ", ".join,
    "/".join,
    " / ".join,
    " | ".join,
    lambda names: f"[{', '.join(names)}]",
    lambda names: f"({', '.join(names)})",
    lambda names: f'"{names[0]}", "' + '" or "'.join(names[1:]) + '"',
    _each("'{}'", ", "),
    lambda names: "\n" + "\n".join(f"- {name}" for name in names) + "\n",
)
CHINESE_LISTS: tuple[Lister, ...] = (
    "、".join,
    "、".join,
    _or("或", "、"),
    _or("或", "、"),
    _or("还是", "、"),
    _or("还是", "、"),
    _or(" 或 ", "、"),
    _or(" 还是 ", "、"),
    _or("或者", "，"),
    _or("和", "、"),
    lambda names: f" {_or(' 或 ', '、')(names)} ",
    lambda names: f" {_or(' 还是 ', '、')(names)} ",
    "/".join,
    " / ".join,
    "，".join,
    ", ".join,
    lambda names: f"[{', '.join(names)}]",
    _each("“{}”", "、"),
    _each("「{}」", ""),
    _or("or", ","),
    lambda names: "\n" + "\n".join(f"- {name}" for name in names) + "\n",
)


def listed(choice: Choice, rng: Random, *, chinese: bool) -> str:
    """The offered labels in one of the ways in which people list them."""
    return rng.choice(CHINESE_LISTS if chinese else ENGLISH_LISTS)(choice.offered)
