"""Keys: a root key wraps keysets, a keyset per tenant and purpose seals data, destroying a key erases what it sealed.

Owns sealing, streams, signing keys at rest and the vault. Leaves the root key to a provider and cryptography to
pyca/cryptography. The formats are documented, with test vectors, in docs/keys.md.
"""

from vallum.kernel.keys.errors import KeyDestroyed, OtherEnvironment, RootKeyRefused, SealBroken, SecretRefused
from vallum.kernel.keys.keyring import EPOCH, Keyring
from vallum.kernel.keys.model import DEFAULT_TENANT, KeysetRecord, KeyVersion, Purpose, SecretRecord, SecretVersion
from vallum.kernel.keys.providers import (
    AwsKey,
    AzureKey,
    FileRoot,
    GcpKey,
    KeyService,
    Pkcs11Root,
    RemoteRoot,
    RootKeyProvider,
    Transit,
    TransitAnswer,
    TransitKey,
)
from vallum.kernel.keys.rotation import Rotation, RotationRules, Rotations, rotation_of
from vallum.kernel.keys.streaming import StreamBroken, decrypt_stream, encrypt_stream
from vallum.kernel.keys.vault import LEASE_SECONDS, MAX_OVERLAP_SECONDS, OVERLAP_SECONDS, Lease, Vault

__all__ = [
    "DEFAULT_TENANT",
    "EPOCH",
    "LEASE_SECONDS",
    "MAX_OVERLAP_SECONDS",
    "OVERLAP_SECONDS",
    "AwsKey",
    "AzureKey",
    "FileRoot",
    "GcpKey",
    "KeyDestroyed",
    "KeyService",
    "KeyVersion",
    "Keyring",
    "KeysetRecord",
    "Lease",
    "OtherEnvironment",
    "Pkcs11Root",
    "Purpose",
    "RemoteRoot",
    "RootKeyProvider",
    "RootKeyRefused",
    "Rotation",
    "RotationRules",
    "Rotations",
    "SealBroken",
    "SecretRecord",
    "SecretRefused",
    "SecretVersion",
    "StreamBroken",
    "Transit",
    "TransitAnswer",
    "TransitKey",
    "Vault",
    "decrypt_stream",
    "encrypt_stream",
    "rotation_of",
]
