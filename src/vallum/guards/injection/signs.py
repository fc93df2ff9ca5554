"""Signs in the structure of a text: what words alone do not say.

A tool result has no reason to speak to an assistant, a document none to hold the delimiters of a chat format, and
nobody's mail a line that sends the inbox somewhere. Each sign is evidence, not proof: it moves the score, and names
the reason where the score is high.
"""

from functools import cache
from typing import Any

import re2

__all__ = ["SIGNS", "find_signs"]

_READER = (
    r"(?:a\.?i\.?|llm|chat ?bot|gpt[- ]?\w*|chatgpt|claude|gemini|copilot|llama|assistant|language model"
    r"|(?:ai|language|virtual) (?:model|assistant|agent))"
)
_OPENING = r"(?:^|[\n.!<*/#\"'>(\[{-])\s*"
_CALL = (
    r"(?:note |notice |message |attention |instructions? |important |memo )?"
    r"(?:to|for|dear|hey|hello|hi|attention|attn)?:?,? ?(?:the |all |any |every |my |our )?"
)
_DESTINATION = r"(?:https?://|www\.|\b[\w.+-]+@[\w-]+\.\w|\biban\b|\bwebhook\b|\baccount\b)"

SIGNS = {
    "chat_delimiter": (
        r"<\|(?:im_start|im_end|system|user|assistant|endoftext|begin_of_text|eot_id|start_header_id)\|?>?"
        r"|\[/?INST\]|<</?SYS>>|</?(?:system|assistant|user|instructions?|system_prompt|important|information|admin)>"
        r"|(?:^|\n)\s*(?:#{2,}|\*\*|\[)\s?(?:system|new instructions?|admin|developer)\b[^\n]{0,20}(?::|\]|\*\*)"
        r"|(?:^|\n)\s*(?:system|assistant|human)\s?:"
    ),
    "addresses_model": (
        rf"{_OPENING}{_CALL}{_READER}\b[^.\n]{{0,60}}(?::|,|!| must| should| please| will)"
        rf"|\b(?:if you are|as) an? {_READER}\b"
        r"|\b(?:ai|llm) (?:agents?|assistants?|models?) (?:reading|processing|summari[sz]ing|reviewing)"
    ),
    "hidden_order": (
        r"(?:do not|don't|never|without) (?:tell|inform|mention|reveal|alert|notify)(?:ing)?\b"
        r"[^.\n]{0,40}\b(?:user|this|anyone|them|owner)"
    ),
    "sends_away": (
        r"\b(?:send|forward|e-?mail|post|upload|exfiltrate|transfer|transmit|leak|copy)\b[^.\n]{0,80}" + _DESTINATION
    ),
    "earlier_task": (
        r"\b(?:task|question|request|instructions?|prompt) (?:that |which )?(?:i|you|the user)"
        r" (?:gave|were|was|asked|had)\b"
        r"|\b(?:before|after) (?:you (?:can )?(?:solve|answer|complete|summari[sz]e|continue)|answering|summari[sz]ing"
        r"|completing)\b"
    ),
}


@cache
def _set() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    signs = re2.Set.SearchSet(options)
    for pattern in SIGNS.values():
        signs.Add(pattern.encode())
    signs.Compile()
    return signs


def find_signs(text: str) -> list[str]:
    """The names of the signs in `text`, in their order here. Linear in its length."""
    names = list(SIGNS)
    return [names[index] for index in sorted(_set().Match(text.encode("ascii", "replace")) or ())]
