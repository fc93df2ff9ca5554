"""Models: what is scanned, signed and described before anything loads it."""

__all__: list[str] = []
