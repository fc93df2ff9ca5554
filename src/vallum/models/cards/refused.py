"""What a card that cannot be read is refused with."""

from vallum.kernel.errors import Invalid

__all__ = ["CardRefused"]


class CardRefused(Invalid):
    """The card cannot be read, or not in one way."""

    code = "card_refused"
