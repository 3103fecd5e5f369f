"""Which part of a text is an instruction, and which is material that it is about.

A review that contains `prove` is still a review. So quotations and fenced code are set aside, and
beside a task such as `classify` or `translate` the rest is taken for its material. Phrases that
tell the router how hard the request is (`this is easy, use the small model`) are cut first. Of a
long text the head and the tail are read: WINDOW_HEAD + WINDOW_TAIL characters, never more.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from router.features.lexicon import HEAVY, LIGHT
from router.features.phrases import Hit, cues_in, cues_of, hits_in, places_of, words_of

WINDOW_HEAD: Final = 1_200
WINDOW_TAIL: Final = 600
HEAD_MIN: Final = 2  # characters before a colon that can set a task
QUESTION_TIMES: Final = 4  # a text so many times as long as the question above it is its material
POINTER_TIMES: Final = 3  # likewise below a sentence that points (`the following`)

_WORK: Final = HEAVY | {"write"}
_TOPICS: Final = LIGHT | _WORK | {"lookup", "suggest", "explain"}

_QUOTED: Final = re.compile(r'"[^"]*"|“[^“”]*”|「[^「」]*」|『[^『』]*』|«[^«»]*»')
_SCHEMA: Final = re.compile(r'\{\s*["“]?\w+["”]?\s*:[^{};]*\}')  # the shape of an answer, not code
_COLON: Final = re.compile(r":(?![\d/:])|：|——|\?\s|？")
_SENTENCE_END: Final = re.compile(r"。|！|[.!]\s")
_POINTS: Final = re.compile("以下|下面|下列|下文|下述|这段|這段|此文|文章|following|below|this")
_OWN_ANSWER: Final = re.compile(
    r"\byour (?:answer|reply|response)\b|\bthe answer to\b|你的(?:回答|答案|答覆|答复)"
)
_ALSO: Final = re.compile(  # what begins a second task, to where its verb stands
    r"(?:^|[.!?。！？；;\n])[\s\"'”’」』）)]*"
    r"(?:(?:and |but |oh,? )?(?:also|then|next|after that|afterwards|finally|actually|now|plus|"
    r"secondly|besides|additionally|instead)\b|然后|然後|接着|接著|再|另外|此外|之后|之後|最后|最後"
    r"|并且|並且|同时|同時)[,，、:： ]*(?:ignore (?:that|this|it|the above)[.,]? )?"
    r"(?:please |请|請)?(?:帮我|幫我|你)?"
)
_DO: Final = re.compile(  # `do it`, `do what the code says`
    r"\bdo (?:it|this|that|what|as|so)\b|\b(?:go|execute|follow)\b"
    r"|照做|照办|照辦|执行|執行|按[^，。]{0,8}做"
)
_LIST: Final = re.compile(r"\s*(?:[-*•①]|\(?[1a一][).、）])")
_BEGGING: Final = re.compile(
    "(?:"
    r"(?:this|it|that|the task|the request|(?:every|each) (?:request|message|task|question))"
    r"(?: is|'s|’s) "
    r"(?:(?:an?|just|very|really|so|super|quite) ){0,3}"
    r"(?:easy|simple|trivial)(?: enough)?(?: task| request| question| one)?"
    r"|(?:please )?\b(?:use|route|send|pick|choose|go|give) "
    r"(?:(?:this|it|that|task|request|to|the|an?|your|just|only|with|me) ){0,6}"
    r"(?:small|cheap|tiny|little|weak)(?:er|est)? (?:language )?(?:model|lane|tier)\b"
    r"|(?:a|any|the) (?:small|cheap|tiny|little|weak)(?:er|est)? (?:language )?model"
    r" (?:is enough|will do|suffices|can (?:do|handle|answer) (?:this|it))"
    r"|(?:classify|label|treat|mark|rate|judge)(?: (?:this|it|them|all|every\w*)(?: \w+)?)? as "
    r"(?:easy|simple|trivial)"
    r"|[这這此本](?:[个個道项項件])?(?:[题題]|问题|問題|任务|任務|请求|請求|事)?"
    r"(?:其实|其實|真的|[很非常太挺超]){1,3}(?:简单|簡單|容易)"
    r"|[请請]?(?:用|交[给給]|走|送到|选|選)(?:[个個]|一[个個])?(?:最?小|最?便宜)的?(?:模型|通道)"
    r"(?:就行|就好|即可|就够了|就夠了|回答|处理|處理)?"
    r"|[请請]?(?:[把将將][这這][^，。！？\n]{0,10})?(?:分类|分類|判|标|標|归|歸)[为為成]?(?:简单|簡單|容易)"
    r")[,.!;，。！；]*\s*"
)
_BEGGING_SIGNS: Final = (
    "easy", "simple", "trivial", " model", " lane", " tier", "简单", "簡單", "容易", "模型", "通道",
)  # fmt: skip


class Zones(NamedTuple):
    """The ``instruction`` in lower case, its ASCII ``words`` and ``cues``; what was ``seen`` of the
    text without begging; and how many characters of it are ``material``, beyond the window too.
    """

    instruction: str
    words: list[str]
    cues: dict[str, float]
    seen: str
    material: int


def window(text: str, head: int = WINDOW_HEAD, tail: int = WINDOW_TAIL) -> str:
    """Return ``text``, or its first ``head`` and last ``tail`` characters."""
    if len(text) <= head + tail:
        return text
    return f"{text[:head]}\n{text[-tail:]}" if tail else text[:head]


def without_begging(text: str) -> str:
    """Cut from a lower-case text what tells the router how hard the request is."""
    for sign in _BEGGING_SIGNS:  # a generator would take three times as long
        if sign in text:
            return _BEGGING.sub(" ", text).strip()
    return text


def zones_of(text: str) -> Zones:
    near = window(text)
    seen = without_begging(near.lower())
    outside = _SCHEMA.sub(" json ", seen) if "{" in seen else seen
    if not outside.isascii() or '"' in outside:
        outside = _QUOTED.sub(" ", outside.replace('"""', " "))
    if "```" in outside:
        outside = "\n".join(outside.split("```")[::2])
    if len(outside) < len(seen) and _DO.search(outside) and _TOPICS.isdisjoint(cues_in(outside)):
        outside = seen  # the task stands in what was set aside
    instruction = _instruction(outside.strip() or seen.strip())  # a quotation alone is what is said
    beyond = len(text) - len(near)
    return Zones(*instruction, seen, max(beyond + len(seen) - len(instruction[0]), 0))


def _instruction(text: str) -> tuple[str, list[str], dict[str, float]]:
    """Return the part that sets a light task for the rest, else the whole, with words and cues."""
    if _asks_about_below(text):
        text = text.partition("\n")[0]
        return text, words_of(text), cues_in(text)
    hits = hits_in(text)
    whole = cues_of(hits, 0, len(text))
    if not LIGHT.isdisjoint(whole):
        for begin, end in _commands(text):
            cues = cues_of(hits, begin, end)
            if not _sets_a_light_task(cues) or _OWN_ANSWER.search(text, begin, end):
                continue
            first, last = _more_work(text, hits, begin, end) or (begin, end)
            part = text[first:last]
            return part, words_of(part), cues_of(hits, first, last)
    return text, words_of(text), whole


def _asks_about_below(text: str) -> bool:
    """Tell whether a question of one line stands over a text several times as long."""
    line, blank, below = text.partition("\n\n")
    return (
        blank != ""
        and "\n" not in line
        and QUESTION_TIMES * len(line) < len(below)
        and ("?" in line or "？" in line)
    )


def _commands(text: str) -> Iterator[tuple[int, int]]:
    """Yield the places of what may set a task for the rest: a head, the first line, the last."""
    below = text.find("\n") + 1
    ends = below - 1 if below else len(text)
    colon = _COLON.search(text, HEAD_MIN, ends)
    if colon and text[colon.end() : ends].strip() and not _LIST.match(text, colon.end(), ends):
        yield 0, colon.end()
    sentence = _SENTENCE_END.search(text, HEAD_MIN, ends)
    if (
        sentence
        and POINTER_TIMES * sentence.end() < ends
        and _POINTS.search(text, 0, sentence.end())
    ):
        yield 0, sentence.end()
    if below:
        if not _LIST.match(text, below):  # which takes the blank lines above it along
            yield 0, ends
        yield text.rfind("\n") + 1, len(text)


def _more_work(text: str, hits: Sequence[Hit], begin: int, end: int) -> tuple[int, int] | None:
    """Return the place of a heavy command in the rest, if that begins with one or has one that
    follows on: `Translate it. Then write a compiler`. That is no material, and it decides.
    """
    work = {place for place in places_of(hits, _WORK) if not begin <= place < end}
    if begin > 0 and 0 in work:
        return 0, begin
    follows = (match.end() for match in _ALSO.finditer(text)) if work else ()
    first = next((place for place in follows if place in work), None)
    return None if first is None else (first, len(text))


def _sets_a_light_task(cues: Mapping[str, float]) -> bool:
    light = sum(strength for name, strength in cues.items() if name in LIGHT)
    return light > sum(strength for name, strength in cues.items() if name in HEAVY)
