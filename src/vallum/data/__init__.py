"""Data sets: contracts and gates, classification, anonymisation, poisoning, and columns encrypted by themselves."""

__all__: list[str] = []
