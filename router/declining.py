"""How models begin an answer that is none: in English, simplified and traditional Chinese. Pure.

Who declines says so at once, so that only the beginning is read. `I can't` alone is no sign: a
translated ticket says it too; what cannot be done must be something that assistants do.
"""

from collections.abc import Mapping
from types import MappingProxyType

HEAD_CHARS = 200

# Beginnings, each with what may follow at once; lower case, straight apostrophes.
DECLINES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "en": (
            (
                "i can't ",
                "i cannot ",
                "i can not ",
                "i won't ",
                "i'm unable to ",
                "i am unable to ",
                "i'm not able to ",
                "i am not able to ",
                "i must decline to ",
            ),
            (
                "answer",
                "assist",
                "complete",
                "comply",
                "continue",
                "create",
                "discuss",
                "do that",
                "fulfil",
                "generate",
                "help",
                "process",
                "produce",
                "provide",
                "support",
                "write",
            ),
        ),
        "zh-Hans": (
            (
                "我无法",
                "我不能",
                "我不会",
                "我没法",
                "我没办法",
                "无法为您",
                "无法为你",
                "不能为您",
            ),
            (
                "为您",
                "为你",
                "写",
                "协助",
                "回答",
                "处理",
                "完成",
                "帮",
                "执行",
                "提供",
                "支持",
                "满足",
                "生成",
                "继续",
                "讨论",
            ),
        ),
        "zh-Hant": (
            (
                "我無法",
                "我不能",
                "我不會",
                "我沒法",
                "我沒辦法",
                "無法為您",
                "無法為你",
                "不能為您",
            ),
            (
                "為您",
                "為你",
                "寫",
                "協助",
                "回答",
                "處理",
                "完成",
                "幫",
                "執行",
                "提供",
                "支持",
                "支援",
                "滿足",
                "生成",
                "產生",
                "繼續",
                "討論",
            ),
        ),
        "about itself": (
            ("as an ", "as a large ", "as a ", "作为一个", "作为一名", "作为", "作為一個", "作為"),
            ("ai", "language model", "人工智能", "人工智慧", "语言模型", "大模型", "語言模型"),
        ),
    }
)


def declines(text: str) -> bool:
    """Return whether a text begins as a refusal does."""
    head = text[:HEAD_CHARS].lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    return any(
        begins in head and any(begins + follows in head for follows in followers)
        for beginnings, followers in DECLINES.values()
        for begins in beginnings
    )
