"""Samples: a conversation and its answer, as varied as what people type into a chat box."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import corpus
import hant
import labels
import texts
from chance import happens
from corpus import Corpus, Part

LANGUAGES = ("en", "zh-Hans", "zh-Hant")
DECLINES = {"en": "I only label tickets and reviews.", "zh": "我只给工单和评论分类。"}

Message = tuple[str, str]  # role, content


@dataclass(frozen=True, slots=True)
class Sample:
    """One conversation; `language` is the instruction's, `of` the class of the text."""

    messages: tuple[Message, ...]
    answer: str
    language: str
    of: str


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes samples of one part of the corpus."""

    english: Corpus
    chinese: Corpus
    reviews: Corpus
    traditional: hant.Traditional
    part: Part

    def samples(self, count: int, rng: Random) -> Iterator[Sample]:
        """`count` samples, the languages in turn."""
        for index in range(count):
            yield self.sample(LANGUAGES[index % len(LANGUAGES)], rng)

    def sample(self, language: str, rng: Random) -> Sample:
        """One sample whose instruction is in `language`."""
        simplified = self._outside(language, rng) if happens(OUTSIDE, rng) else None
        simplified = simplified or self._labelled(language, rng)
        return simplified if language != "zh-Hant" else self._traditional(simplified, rng)

    def _traditional(self, simplified: Sample, rng: Random) -> Sample:
        taiwan = happens(0.6, rng)
        to = self.traditional.of
        messages = tuple((role, to(text, taiwan=taiwan)) for role, text in simplified.messages)
        if messages == simplified.messages:  # nothing shows the script: the answer keeps it
            return simplified
        answer = to(simplified.answer, taiwan=taiwan)
        return Sample(messages, answer, "zh-Hant", simplified.of)

    def _outside(self, language: str, rng: Random) -> Sample:
        words, chinese = self._words(language)
        content = words.draw("outside", self.part, rng)
        if happens(0.3, rng):
            content += rng.choice(("？", "。", "！") if chinese else ("?", ".", "!"))
        if not chinese and happens(0.6, rng):
            content = content[:1].upper() + content[1:]
        system = [("system", words.draw("persona", self.part, rng))] * happens(0.3, rng)
        answer = DECLINES["zh" if chinese else "en"]
        return Sample((*system, ("user", content)), answer, language, "outside")

    def _labelled(self, language: str, rng: Random) -> Sample:
        words, chinese = self._words(language)
        kind = rng.choices(("ticket", "review"), (0.48, 0.52))[0]
        of = rng.choices(*CLASSES[kind])[0]
        unasked = happens(UNASKED, rng) and of in texts.TICKETS
        open_question = unasked or happens(0.14, rng)
        choice = labels.choose(of, rng, chinese=chinese, open_question=open_question)
        if unasked:
            message = ("user", self._text(of, chinese=chinese, rng=rng))
            return Sample((message,), choice.right, language, of)
        section = f"instruct.{kind}{'.open' * open_question}"
        task = words.draw(section, self.part, rng)
        task = task.replace("{labels}", labels.listed(choice, rng, chinese=chinese)).strip()
        if not chinese and happens(0.12, rng):
            task = task[:1].lower() + task[1:]
        only = words.draw("only", self.part, rng) if happens(0.4, rng) else ""
        answer = choice.right
        if happens(JSON, rng):
            only = words.draw("json", self.part, rng) + ("。" if chinese else ".")
            answer = f'{{"label": "{answer}"}}'
        text_is_chinese = chinese != happens(CROSSED, rng)
        layout = Layout(words, self.part, kind, task, only, chinese, rng)
        text = self._text(of, chinese=text_is_chinese, rng=rng)
        return Sample(tuple(layout.messages(text)), answer, language, of)

    def _text(self, of: str, *, chinese: bool, rng: Random) -> str:
        if of in ("positive", "negative") and happens(FOREIGN, rng):
            return texts.foreign_review(self.reviews, of, self.part, rng)
        words = self.chinese if chinese else self.english
        return texts.body(words, of, self.part, rng, chinese=chinese)

    def _words(self, language: str) -> tuple[Corpus, bool]:
        return (self.english, False) if language == "en" else (self.chinese, True)


OUTSIDE, UNASKED, JSON, CROSSED, FOREIGN = 0.05, 0.03, 0.05, 0.08, 0.06
CLASSES = {
    "ticket": (texts.TICKETS, (1, 1, 1)),
    "review": (texts.REVIEWS, (1, 1, 0.45)),
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the instruction, the text and `only answer with the label` go."""

    words: Corpus
    part: Part
    kind: str
    task: str
    only: str
    chinese: bool
    rng: Random

    def messages(self, text: str) -> Iterator[Message]:
        """The conversation around `text`."""
        rng = self.rng
        if happens(0.2, rng):  # the system message gives the task
            persona = self._draw("persona") + self._gap() if happens(0.5, rng) else ""
            yield ("system", f"{persona}{self._task()}{self._gap()}{self.only}".strip())
            yield ("user", self._named(text) if happens(0.25, rng) else text)
            return
        if happens(0.22, rng):
            yield ("system", self._draw("persona"))
        yield ("user", self._one_message(text))

    def _one_message(self, text: str) -> str:
        rng, gap = self.rng, self._gap()
        task_and_only = f"{self._task()}{gap}{self.only}".strip() if self.only else self._task()
        wrapped = self._wrapped(text)
        match rng.randrange(8):
            case 0 | 1 | 2 if not self.only and self.task[-1] not in "?？。.\n":
                return f"{self.task}{'：' if self.chinese else ': '}{wrapped}"
            case 0 | 1 | 2 | 3:
                return f"{task_and_only}{rng.choice((gap, chr(10), chr(10) * 2))}{wrapped}"
            case 4:
                return f"{task_and_only}\n\n{self._named(text)}{self._cue()}"
            case 5:
                return f"{wrapped}\n{rng.choice(('', chr(10)))}{task_and_only}"
            case 6:
                return f"{self._named(text)}\n{self._task()}{gap}{self.only}".strip()
            case _:
                return f"{self._task()}\n{self._named(text)}\n{self.only}".strip() + self._cue()

    def _task(self) -> str:
        if self.task[-1] in "?？。.\n":
            return self.task
        return self.task + self.rng.choice(("。", "：", "") if self.chinese else (".", ":", ""))

    def _wrapped(self, text: str) -> str:
        tag = self.kind
        around = [("", "")] * 7 + [
            ('"', '"'),
            ("“", "”"),
            (f"<{tag}>", f"</{tag}>"),
            ("---\n", "\n---"),
        ]
        if self.chinese:
            around += [("「", "」"), ("【", "】")]
        before, after = self.rng.choice(around)
        return f"{before}{text}{after}"

    def _named(self, text: str) -> str:
        colon = "：" if self.chinese else ": "
        return self._draw(f"input.{self.kind}") + self.rng.choice((colon, colon, ":\n")) + text

    def _cue(self) -> str:
        if happens(0.6, self.rng):
            return ""
        return f"\n{self._draw('answer')}{'：' if self.chinese else ':'}"

    def _gap(self) -> str:
        return self.rng.choice(("", "\n") if self.chinese else (" ", " ", "\n"))

    def _draw(self, section: str) -> str:
        return self.words.draw(section, self.part, self.rng)


def maker(part: Part) -> Maker:
    """The maker for one part of the corpus."""
    words = {name: corpus.read(name) for name in ("en", "zh", "reviews")}
    return Maker(words["en"], words["zh"], words["reviews"], hant.read(), part)
