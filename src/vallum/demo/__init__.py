"""The demonstration: a small company's handbook, and the configuration of an application that asks it."""

from importlib import resources

__all__ = ["DEMO_APPLICATION", "DEMO_MODEL", "demo_configuration", "demo_documents"]

DEMO_APPLICATION = "handbook-assistant"
DEMO_MODEL = "handbook"


def demo_documents() -> dict[str, str]:
    """The handbook's pages by file name."""
    folder = resources.files(__name__) / "documents"
    return {page.name: page.read_text() for page in sorted(folder.iterdir(), key=lambda p: p.name)}


def demo_configuration() -> dict[str, str]:
    """The demonstration's declarations, as `vallum apply` would read them."""
    return {"demo.toml": (resources.files(__name__) / "demo.toml").read_text()}
