"""Prompts of a wanted length, in English and Chinese, no two of them with the same beginning."""

from itertools import cycle, islice

# Everyday words: as many tokens each as in the requests that fleets serve.
TEXT = """
the customer was charged twice for one order and asks for a refund of the second payment
订单 已经 发货 但是 物流 信息 没有 更新 請 協助 確認 付款 狀態
please summarise what happened and say which team should answer first
客户 反映 登录 失败 需要 技术 支持 尽快 处理
"""
WORDS = tuple(TEXT.split())


def prompt(words: int, number: int) -> str:
    """Return a prompt of so many words; its number stands first, so that no cache knows it."""
    return " ".join([f"#{number}", *islice(cycle(WORDS), max(words - 1, 0))])


def words_for(tokens: int, seen: tuple[tuple[int, int], tuple[int, int]]) -> int:
    """Return how many words make a prompt of so many tokens, from two (words, tokens) seen."""
    (few, few_tokens), (many, many_tokens) = seen
    per_word = (many_tokens - few_tokens) / (many - few)
    if per_word <= 0:
        return tokens
    return max(1, round(few + (tokens - few_tokens) / per_word))
