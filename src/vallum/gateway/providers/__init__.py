"""Where models answer: providers over HTTP and the built-in one, pooled, retried, and left alone when they fail."""

from vallum.gateway.providers.failures import UpstreamFailed
from vallum.gateway.providers.pool import Candidate, ProviderPool
from vallum.gateway.providers.port import Call, Upstream, UpstreamAnswer, UpstreamStream

__all__ = ["Call", "Candidate", "ProviderPool", "Upstream", "UpstreamAnswer", "UpstreamFailed", "UpstreamStream"]
