"""A small Python client of the control plane: sign in, issue keys, apply configuration, read and prove entries.

Inference needs no client of Vallum's: point the OpenAI or Anthropic SDK at the same URL.
"""

from vallum.client.client import Client, RequestRefused

__all__ = ["Client", "RequestRefused"]
