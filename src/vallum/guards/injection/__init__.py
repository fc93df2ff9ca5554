"""Prompt injection and jailbreak detection: `Injection().score(text, channel="user")`."""

from vallum.guards.injection.guard import Injection, Judge, Verdict

__all__ = ["Injection", "Judge", "Verdict"]
