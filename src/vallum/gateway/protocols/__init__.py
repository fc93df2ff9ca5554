"""The endpoints that clients already speak, one module each, behind one port."""

from vallum.gateway.protocols.anthropic_messages import AnthropicMessages
from vallum.gateway.protocols.open_inference import OpenInference
from vallum.gateway.protocols.openai_chat import OpenAiChat
from vallum.gateway.protocols.openai_embeddings import OpenAiEmbeddings
from vallum.gateway.protocols.openai_responses import OpenAiResponses
from vallum.gateway.protocols.port import PlainAnswer, Usage, WireProtocol
from vallum.gateway.protocols.predictions import OpenAiPredictions

__all__ = [
    "AnthropicMessages",
    "OpenAiChat",
    "OpenAiEmbeddings",
    "OpenAiPredictions",
    "OpenAiResponses",
    "OpenInference",
    "PlainAnswer",
    "Usage",
    "WireProtocol",
]
