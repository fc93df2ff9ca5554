"""Converting what was scanned to formats that hold no code, in a sandbox, tied to its source by digest."""

from vallum.models.convert.attest import CONVERSION_BUILD_TYPE, attest_conversion
from vallum.models.convert.service import Conversion, convert

__all__ = ["CONVERSION_BUILD_TYPE", "Conversion", "attest_conversion", "convert"]
