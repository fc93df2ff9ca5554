"""A local upstream that costs next to nothing: one fixed chat completion, as JSON or as a stream of 22 chunks.

python bench/upstream.py PORT
"""

import asyncio
import json
import sys

import uvloop

TEXT = (
    "Thirty days of paid leave are granted in each year of service, and public holidays come on top of that. Leave is "
    "booked with your lead, two weeks ahead where it can be planned."
)
_USAGE = {"prompt_tokens": 24, "completion_tokens": 40, "total_tokens": 64}


def _answer() -> bytes:
    message = {"role": "assistant", "content": TEXT}
    body = json.dumps(
        {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench", "usage": _USAGE,
         "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    ).encode()  # fmt: skip
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def _stream() -> list[bytes]:
    def chunk(delta: dict[str, str], finish: str | None = None, usage: object = None) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if usage is None else []
        document = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "bench"}
        data = f"data: {json.dumps({**document, 'choices': choices, 'usage': usage})}\n\n".encode()
        return b"%x\r\n%b\r\n" % (len(data), data)

    step = -(-len(TEXT) // 18)
    pieces = [chunk({"content": TEXT[at : at + step]}) for at in range(0, len(TEXT), step)]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    done = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    ends = [chunk({}, "stop"), chunk({}, usage=_USAGE), done]
    return [head + chunk({"role": "assistant", "content": ""}), *pieces, *ends]


ANSWER, STREAM = _answer(), _stream()


class Server(asyncio.Protocol):
    def __init__(self) -> None:
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = (
                int(head[at + 15 : head.find(b"\r\n", at) if head.find(b"\r\n", at) > 0 else end]) if at >= 0 else 0
            )
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            if b'"stream":true' in body or b'"stream": true' in body:
                self.streaming = asyncio.ensure_future(self.stream())
            else:
                self.transport.write(ANSWER)

    async def stream(self) -> None:
        for piece in STREAM:
            self.transport.write(piece)
            await asyncio.sleep(0)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
