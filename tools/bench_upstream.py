"""A model server that takes no time: the same answer to every request, for `make bench` only."""

import asyncio
import re
import sys

USAGE = b'"usage":{"prompt_tokens":50,"completion_tokens":2,"total_tokens":52}'
PLAIN = (
    b'{"id":"1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"billing"},"finish_reason":"stop"}],' + USAGE + b"}"
)
_CHUNK = (
    b'data: {"id":"1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"word "},"finish_reason":null}]}\n\n'
)
STREAM = [
    *[_CHUNK] * 50,
    b'data: {"choices":[],' + USAGE + b"}\n\n",
    b"data: [DONE]\n\n",
]
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    def __init__(self) -> None:
        self.held = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.held += data
        while (end := self.held.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self.held, 0, end)
            size = end + 4 + (int(length[1]) if length else 0)
            if len(self.held) < size:
                return
            body, self.held = self.held[end:size], self.held[size:]
            self.answer(stream=b'"stream":true' in body or b'"stream": true' in body)

    def answer(self, *, stream: bool) -> None:
        if not stream:
            head = (
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            )
            self.transport.write(head % len(PLAIN) + PLAIN)
            return
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
        head += b"transfer-encoding: chunked\r\n\r\n"
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in STREAM)
        self.transport.write(head + chunks + b"0\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
