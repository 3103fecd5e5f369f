"""What of a stream's events goes on to the caller, and what is learned of them on the way. Pure.

Events go on byte for byte, except a usage event that the caller did not ask for. At the output
limit the stream is cut: an event with content is a token at least, any other event is none.
"""

from backends.base import BackendError, Broken
from backends.sse import (
    Usage,
    error_of,
    has_finish_reason,
    is_done,
    only_usage,
    speaks,
    usage_of,
)

SLACK_EVENTS = 4  # of a choice, above its tokens: a call's name, a refusal, an odd split
DONE = b"data: [DONE]\n\n"


class Gate:
    """One stream. `end` are the bytes to send last, once it has ended by itself or is cut here;
    `error` is what broke it. What went before either still goes on.
    """

    def __init__(self, *, usage_asked: bool, n: int, max_tokens: int) -> None:
        self.usage: Usage | None = None
        self.events = 0  # with content, that went on
        self.finish_seen = False
        self.end: bytes | None = None
        self.error: BackendError | None = None
        self._usage_asked = usage_asked
        self._n = n
        self._most = n * (max_tokens + SLACK_EVENTS)

    def pass_on(self, events: list[bytes]) -> bytes:
        """Return what goes on of these events."""
        out = []
        for event in events:
            usage = usage_of(event)
            if usage is not None:
                self.usage = usage
                if not self._usage_asked and only_usage(event):
                    continue
            elif error_of(event) is not None:
                self.error = Broken("an error event in the stream", received=True)
                break
            if is_done(event):
                self.end = event
                break
            if speaks(event):
                if self.events == self._most:
                    self.end = self._cut() + DONE
                    break
                self.events += 1
            self.finish_seen = self.finish_seen or has_finish_reason(event)
            out.append(event)
        return b"".join(out)

    def _cut(self) -> bytes:
        choice = '{"index":%d,"delta":{},"finish_reason":"length"}'
        choices = ",".join(choice % i for i in range(self._n))
        return f'data: {{"object":"chat.completion.chunk","choices":[{choices}]}}\n\n'.encode()
