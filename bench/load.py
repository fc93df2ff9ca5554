"""Load on an OpenAI-compatible URL over plain HTTP, from as little client as there can be; figures as JSON.

python bench/load.py PORT KEY MODEL --requests 5000 --concurrent 32 [--stream]
"""

import argparse
import asyncio
import json
import time

import uvloop

QUESTION = (
    "You are helpful. A colleague asks how many days of leave there are in a year, and whether unused ones may be "
    "kept for the next. Answer in two sentences, and name the chapter of the handbook."
)


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> tuple[float, float]:
    """Seconds to the first content and to the end. Raises on anything but success."""
    begun = time.perf_counter()
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise RuntimeError((head + await reader.read(2000)).decode(errors="replace"))
    lower = head.lower()
    if b"transfer-encoding: chunked" in lower:
        first = 0.0
        while True:
            size = int(await reader.readline(), 16)
            piece = await reader.readexactly(size + 2)
            if not first and b'"content":"' in piece.replace(b'": "', b'":"').replace(b'"content":""', b""):
                first = time.perf_counter() - begun
            if size == 0:
                return first, time.perf_counter() - begun
    at = lower.index(b"content-length:") + 15
    await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
    seconds = time.perf_counter() - begun
    return seconds, seconds


async def run(port: int, key: str, model: str, requests: int, concurrent: int, stream: bool) -> dict[str, float]:
    document = {"model": model, "messages": [{"role": "user", "content": QUESTION}], "stream": stream}
    body = json.dumps(document).encode()
    request = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
        f"authorization: Bearer {key}\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body
    left = requests
    ends: list[float] = []
    firsts: list[float] = []

    async def client() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            first, end = await one(reader, writer, request)
            firsts.append(first)
            ends.append(end)
        writer.close()

    begun = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrent)))
    seconds = time.perf_counter() - begun
    ends.sort()
    firsts.sort()

    def percentile(values: list[float], share: float) -> float:
        return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 3)

    return {
        "requests": len(ends),
        "per_second": round(len(ends) / seconds, 1),
        "p50_ms": percentile(ends, 0.5),
        "p99_ms": percentile(ends, 0.99),
        "first_p50_ms": percentile(firsts, 0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("key")
    parser.add_argument("model")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrent", type=int, default=32)
    parser.add_argument("--stream", action="store_true")
    given = parser.parse_args()
    figures = uvloop.run(run(given.port, given.key, given.model, given.requests, given.concurrent, given.stream))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
