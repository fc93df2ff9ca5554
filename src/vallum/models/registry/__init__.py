"""The model registry: nothing is loaded that was not scanned, signed and verified.

A registered model has numbered, immutable versions. An upload is hashed and sealed as it arrives, scanned as one
repository and signed; what does not pass waits in quarantine for somebody else's review. `Registry.checkout` gives the
bytes that were verified, and nothing of a version that is quarantined or revoked.
"""

from vallum.models.registry.damage_alarm import DamageAlarm
from vallum.models.registry.dependency_watch import DependencyWatch
from vallum.models.registry.descriptions import Descriptions
from vallum.models.registry.model import (
    Attestation,
    AttestationMalformed,
    BroughtSignatureRefused,
    CardReport,
    DependencyReport,
    Egress,
    ModelFile,
    ModelVersion,
    PartialFile,
    PartOutOfStep,
    RegisteredModel,
    SigningKeyRecord,
    Upload,
    UploadBusy,
    UploadDigestDiffers,
    UploadPart,
    UploadTooLarge,
    VersionBlocked,
    VersionDamaged,
    VersionFinding,
    VersionUnavailable,
)
from vallum.models.registry.report_signer import ReportSigner
from vallum.models.registry.scan_attester import ScanAttester, VerdictUnproven
from vallum.models.registry.service import Registry
from vallum.models.registry.signing_keys import SigningKeys, SigningPlace
from vallum.models.registry.trust import load_trust

__all__ = [
    "Attestation",
    "AttestationMalformed",
    "BroughtSignatureRefused",
    "CardReport",
    "DamageAlarm",
    "DependencyReport",
    "DependencyWatch",
    "Descriptions",
    "Egress",
    "ModelFile",
    "ModelVersion",
    "PartOutOfStep",
    "PartialFile",
    "RegisteredModel",
    "Registry",
    "ReportSigner",
    "ScanAttester",
    "SigningKeyRecord",
    "SigningKeys",
    "SigningPlace",
    "Upload",
    "UploadBusy",
    "UploadDigestDiffers",
    "UploadPart",
    "UploadTooLarge",
    "VerdictUnproven",
    "VersionBlocked",
    "VersionDamaged",
    "VersionFinding",
    "VersionUnavailable",
    "load_trust",
]
