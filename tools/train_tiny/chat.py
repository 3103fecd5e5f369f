"""The chat template of the model file, and the same rendering here for training.

The format is ChatML with Qwen3's switch: without `enable_thinking: false` the answer follows the
role at once, with it an empty think block comes first. Tools are not rendered: the model has none.
"""

from collections.abc import Sequence

from prompts import Message

END_OF_TEXT, START, END, THINK, END_THINK = SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "</think>",
)
NO_THOUGHTS = f"{THINK}\n\n{END_THINK}\n\n"

TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and message.reasoning_content %}
        {{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}
    {%- endif %}
    {{- (message.content or '') + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
"""`reasoning_content` tells the engine that this model may think: it then cuts the empty block."""


def render(messages: Sequence[Message], *, thinking_off: bool) -> str:
    """What `TEMPLATE` gives for plain messages, with the generation prompt."""
    turns = "".join(f"{START}{role}\n{content}{END}\n" for role, content in messages)
    return f"{turns}{START}assistant\n{NO_THOUGHTS if thinking_off else ''}"
