"""What an attestation of a model is about: the model as a whole, and each of its files."""

from collections.abc import Mapping

from vallum.models.attestations.statement import Subject

__all__ = ["subjects_of"]


def subjects_of(model: str, root: str, files: Mapping[str, str]) -> tuple[Subject, ...]:
    """The model by the root of its signed manifest, then its files by their SHA-256, in the order of their paths.

    Raises Invalid for a digest that is none.
    """
    name = model if model not in files else f"{model} (manifest)"  # a model of one file may have that file's name
    return (
        Subject(name, {"sha256": root}),
        *(Subject(path, {"sha256": digest}) for path, digest in sorted(files.items())),
    )
