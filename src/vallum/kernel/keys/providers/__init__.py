"""Root key providers: the port, and one module per place where a root key may live."""

from vallum.kernel.keys.providers.aws import AwsKey
from vallum.kernel.keys.providers.azure import AzureKey
from vallum.kernel.keys.providers.file import FileRoot
from vallum.kernel.keys.providers.gcp import GcpKey
from vallum.kernel.keys.providers.pkcs11 import Pkcs11Root
from vallum.kernel.keys.providers.port import RootKeyProvider
from vallum.kernel.keys.providers.remote import KeyService, RemoteRoot
from vallum.kernel.keys.providers.transit import Transit, TransitAnswer, TransitKey

__all__ = [
    "AwsKey",
    "AzureKey",
    "FileRoot",
    "GcpKey",
    "KeyService",
    "Pkcs11Root",
    "RemoteRoot",
    "RootKeyProvider",
    "Transit",
    "TransitAnswer",
    "TransitKey",
]
