"""Bills of materials for models: CycloneDX 1.6 and 1.7 with model card, data, files, packages and signature.

    facts, declared = facts_of_folder(Path("model"))
    validate_bom(render_bom(facts, now))

Deterministic, and held to the official schema (extra `bom`) and to what no schema says.
"""

from vallum.models.bom.read import facts_of_bom, facts_of_folder
from vallum.models.bom.render import SPEC_VERSIONS, SpecVersion, render_bom, serial_number
from vallum.models.bom.validate import BomRefused, parse_bom, validate_bom

__all__ = [
    "SPEC_VERSIONS",
    "BomRefused",
    "SpecVersion",
    "facts_of_bom",
    "facts_of_folder",
    "parse_bom",
    "render_bom",
    "serial_number",
    "validate_bom",
]
