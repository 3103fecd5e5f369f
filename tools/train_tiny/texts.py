"""Tickets and reviews: one or two core sentences of a class, with what people write around them."""

from random import Random

from chance import happens
from corpus import Corpus, Part
from style import casual, unheard_of

TICKETS = ("billing", "technical", "shipping")
REVIEWS = ("positive", "negative", "neutral")
KEYWORDS = 0.22  # of the sentences in training are a few words that tell the class, and no more
AROUND = {"ticket": (0.30, 0.20, 0.28, 0.16), "review": (0.0, 0.22, 0.0, 0.0)}
"""Shares of: greeting, context, plea, signoff."""


def body(corpus: Corpus, of: str, part: Part, rng: Random, *, chinese: bool) -> str:
    """One message of class `of`, styled."""
    kind = "review" if of in REVIEWS else "ticket"
    greeting, context, plea, signoff = (happens(share, rng) for share in AROUND[kind])
    cores = [_core(corpus, of, part, rng, chinese=chinese)]
    if happens(0.3, rng) and of != "neutral":
        cores.append(_core(corpus, of, part, rng, chinese=chinese))
    sentences = [
        *([corpus.draw(f"{kind}_context" if kind == "review" else "context", part, rng)] * context),
        *cores,
        *([corpus.draw("plea", part, rng)] * plea),
    ]
    if happens(0.1, rng):
        rng.shuffle(sentences)
    text = _join(sentences, rng, chinese=chinese)
    if greeting:
        text = _join([corpus.draw("greeting", part, rng), text], rng, chinese=chinese)
    if signoff:
        text = _join([text, corpus.draw("signoff", part, rng)], rng, chinese=chinese)
    return casual(text, rng, chinese=chinese)


def foreign_review(corpus: Corpus, of: str, part: Part, rng: Random) -> str:
    """One review of class `of` in a further language."""
    sections = [name for name in corpus.lines[part] if name.endswith(f".{of}")]
    filled = [name for name in sections if corpus.lines[part][name]]
    parts = [corpus.draw(rng.choice(filled), part, rng) for _ in range(rng.choice((1, 1, 2)))]
    return rng.choice((", ", ". ", " ")).join(parts)


def _core(corpus: Corpus, of: str, part: Part, rng: Random, *, chinese: bool) -> str:
    if f"{of}.words" in corpus.lines["train"] and part == "train" and happens(KEYWORDS, rng):
        return _keywords(corpus, of, rng)
    section = rng.choice(corpus.lines[part][of] or corpus.lines["train"][of])
    if happens(0.12, rng):
        name = unheard_of(rng, chinese=chinese)
        for slot in ("{item}", "{device}", "{product}", "{app}"):
            section = section.replace(slot, name)
    return " ".join(corpus.expand(section, part, rng).split())


def _keywords(corpus: Corpus, of: str, rng: Random) -> str:
    section = "keywords.neutral" if of == "neutral" else "keywords"
    pattern = rng.choice(corpus.lines["train"][section])
    pattern = pattern.replace("{words}", f"{{{of}.words}}")
    return corpus.expand(pattern, "train", rng)


def _join(sentences: list[str], rng: Random, *, chinese: bool) -> str:
    if chinese:
        gap = rng.choice(("，", "，", "。", "。", " ", "！", ""))
        return gap.join(sentences) + rng.choice(("", "", "。", "！"))
    gap, end = rng.choice(((", ", ""), (". ", "."), (". ", ""), ("! ", "!"), (" ", ""), ("\n", "")))
    if happens(0.65, rng):
        sentences = [sentence[:1].upper() + sentence[1:] for sentence in sentences]
    return gap.join(sentences) + end
