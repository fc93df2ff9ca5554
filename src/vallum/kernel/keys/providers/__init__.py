"""Root key providers: the port, and one module per place where a root key may live."""

from vallum.kernel.keys.providers.file import FileRoot
from vallum.kernel.keys.providers.pkcs11 import Pkcs11Root
from vallum.kernel.keys.providers.port import RootKeyProvider

__all__ = ["FileRoot", "Pkcs11Root", "RootKeyProvider"]
