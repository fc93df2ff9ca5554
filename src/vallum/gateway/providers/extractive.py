"""The built-in provider: quotes the passages that fit a question best, and says that it is no language model.

It gives a newcomer a working system with no account anywhere, and every guard, limit and entry something real to
work on. What it says stands in the documents, word for word.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from vallum.gateway.document import encode_document
from vallum.gateway.protocols import PlainAnswer, Usage
from vallum.gateway.providers.port import Call, UpstreamAnswer, UpstreamStream
from vallum.retrieval import PassageIndex

__all__ = ["ExtractiveUpstream"]

_PASSAGES = 3
_CHARS_PER_TOKEN = 4
_PREFACE = "I am not a language model. These passages of the documents fit your question best:"
_NOTHING = (
    "I am not a language model: I quote the documents I was given, and none of them fits your question. "
    "Ask, for example, how a lost laptop is reported, or how many days of leave there are."
)


class ExtractiveUpstream:
    def __init__(self, index: PassageIndex) -> None:
        self._index = index

    async def call(self, call: Call) -> UpstreamAnswer:
        return UpstreamAnswer(200, encode_document(call.protocol.render_answer(self._answer(call))))

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncIterator[UpstreamStream]:
        async def chunks() -> AsyncIterator[bytes]:
            for chunk in call.protocol.render_stream(self._answer(call)):
                yield chunk

        yield UpstreamStream(chunks())

    async def close(self) -> None:
        return

    def _answer(self, call: Call) -> PlainAnswer:
        question = call.protocol.question(call.document)
        passages = self._index.search(question, _PASSAGES)
        quotes = [f"> {p.text}\n\n[{at}] {p.source}, {p.heading}" for at, p in enumerate(passages, 1)]
        text = "\n\n".join([_PREFACE, *quotes]) if quotes else _NOTHING
        usage = Usage(len(question) // _CHARS_PER_TOKEN, len(text) // _CHARS_PER_TOKEN)
        return PlainAnswer(call.model_name, text, usage)
