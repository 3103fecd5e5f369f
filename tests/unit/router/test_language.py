import pytest

from policies.conditions import LANGUAGES as POLICY_LANGUAGES
from router.features.language import LANGUAGES, language_of
from router.features.phrases import words_of


def language(text):
    return language_of(text.lower(), words_of(text.lower()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Where is my parcel?", "en"),
        ("warfarin plus clarithromycin, INR 2.4", "en"),
        ("The café's naïve résumé", "en"),
        ("x = 1", "en"),
        ("", "en"),
        ("我的包裹到哪里了？", "zh-Hans"),
        ("我的包裹到哪裡了？請儘快處理", "zh-Hant"),
        ("你好", "zh-Hans"),  # nothing tells the scripts apart
        ("把这条工单分类为 billing、technical 或 shipping", "zh-Hans"),
        ("把這張工單分類為 billing、technical 或 shipping", "zh-Hant"),
        ("用 Python 写一个函数", "zh-Hans"),
        ("帮我写个 SQL query，per customer 求 streak，explain 每个 CTE", "mixed"),
        ("Please explain the word 缘分 to my colleagues in the office", "en"),
        ("Hola, ¿dónde está el pedido de la semana pasada?", "other"),
        ("Wo ist mein Paket und was kostet das?", "other"),
        ("荷物がまだ届いていません", "other"),
        ("주문한 상품이 아직 도착하지 않았습니다", "other"),
        ("أين طلبي؟", "other"),
        ("Где мой заказ?", "other"),
        ("สินค้ายังไม่มาถึง", "other"),
    ],
)
def test_a_text_is_told_by_its_script_and_its_small_words(text, expected):
    assert language(text) == expected


def test_the_languages_are_those_that_policies_know():
    assert set(LANGUAGES) == set(POLICY_LANGUAGES)
