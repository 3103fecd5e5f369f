"""Which language a request is asked in: English, Chinese in either script, both, or another.

Nothing here depends on spaces between words. A text without a character that only one of the two
Chinese scripts uses counts as simplified.
"""

import re
from collections.abc import Collection, Set
from typing import Final

LANGUAGES: Final = ("en", "zh-Hans", "zh-Hant", "mixed", "other")

SIMPLIFIED: Final = frozenset(
    "个为们请这题问时么来据会对学发给将关写动户类还进过国数种电点间计业现经语机开车应说体从内两长产与场编话没实适"
    "结气设该选价风无让当区务释号简单员项环处论术变总标别历节条码欢导译确师带习儿帮样议谢组试词划报优护记续决称预"
    "吗网广认输达够书创义质闻买张队强运响乐线图荐战险满调规断脑备压级装万热积键统职联随头费观爱读销资医约减额难参"
    "择红赛识东则团兴营态极块证觉专转细辑声页测许况传举领办获验邮评温见视钟门显购绿亿厅状仅际错钱货听争笔构换录"
)
TRADITIONAL: Final = frozenset(
    "個爲為們請這題問時麼來據會對學發給將關寫動戶類還進過國數種電點間計業現經語機開車應說説體從內兩長產與場編話沒實適"
    "結氣設該選價風無讓當區務釋號簡單員項環處論術變總標別歷節條碼歡導譯確師帶習兒幫樣議謝組試詞劃報優護記續決稱預"
    "嗎網廣認輸達夠書創義質聞買張隊強運響樂線圖薦戰險滿調規斷腦備壓級裝萬熱積鍵統職聯隨頭費觀愛讀銷資醫約減額難參"
    "擇紅賽識東則團興營態極塊證覺專轉細輯聲頁測許況傳舉領辦獲驗郵評溫見視鐘門顯購綠億廳狀僅際錯錢貨聽爭筆構換錄裡妳"
)

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_FOREIGN = re.compile("[\u0370-\u1fff\u3041-\u30ff\uac00-\ud7af]")  # Greek to Khmer, kana, Hangul
_ENGLISH_WORDS = frozenset(
    "the of and to is are in for with that this what which how who when where it from or if not "
    "you your my i be can do does an by on as at there have has was were will would than".split()
)
_FOREIGN_WORDS = frozenset(
    "el la los las de que y un una por para con del se le les des et est une dans pour je vous "
    "der das und ist nicht ein eine ich mit den dem zu il che di non sono os uma com yang tidak "
    "het een niet och att som jest nie bir ve".split()
)
_CHINESE_SHARE = 0.55  # of characters, a word counting as two, from which on a text is Chinese
_ENGLISH_SHARE = 0.15  # below it the text is English


def language_of(text: str, words: Collection[str]) -> str:
    """Return one of LANGUAGES; ``words`` are the lower-case ASCII words of ``text``."""
    if text.isascii():
        return _latin(set(words))
    han, foreign, latin = len(_HAN.findall(text)), len(_FOREIGN.findall(text)), 2 * len(words)
    if 3 * foreign > han + foreign and foreign > 1.5 * latin:
        return "other"
    if not han:
        return _latin(set(words))
    share = han / (han + latin)
    if share < _ENGLISH_SHARE:
        return "en"
    return script_of(text) if share >= _CHINESE_SHARE else "mixed"


def script_of(text: str) -> str:
    characters = set(text)
    if len(characters & TRADITIONAL) > len(characters & SIMPLIFIED):
        return "zh-Hant"
    return "zh-Hans"


def _latin(words: Set[str]) -> str:
    foreign = len(words & _FOREIGN_WORDS)
    return "other" if foreign > len(words & _ENGLISH_WORDS) else "en"


_DIGITS: Final = {c: i % 10 for i, c in enumerate("〇一二三四五六七八九零壹贰叁肆伍陆柒捌玖")}
_DIGITS_TOO: Final = {"两": 2, "兩": 2, "半": 0.5, "貳": 2, "參": 3, "陸": 6}
_UNITS: Final = {"十": 10, "百": 100, "千": 1000, "万": 10_000, "萬": 10_000}


def chinese_number(numeral: str) -> int:
    """Return the whole number a Chinese numeral stands for: `两千` 2000, `一百二十` 120."""
    digits = _DIGITS | _DIGITS_TOO
    total, section, digit = 0.0, 0.0, 0.0
    for character in numeral:
        if character in digits:
            digit = digits[character]
        elif character in _UNITS and _UNITS[character] < 10_000:  # noqa: PLR2004  (below 万)
            section += (digit or 1) * _UNITS[character]
            digit = 0
        elif character in _UNITS:
            total += (section + digit or 1) * _UNITS[character]
            section = digit = 0
    return int(total + section + digit)
