"""Signing models in the OpenSSF model-signing format (OMS 1.0), and verifying what others signed in it.

A signature is a Sigstore bundle (v0.3) around a DSSE envelope around an in-toto statement that names every file of the
model by its SHA-256. `verify_model` finds everything that is not as it was signed; `verified_copy` gives the very bytes
that were verified, since what lies in a folder may change between looking and loading.
"""

from vallum.models.signing.bundle import SignatureRefused, TrustedCertificate, TrustedKey, TrustPolicy
from vallum.models.signing.manifest import Difference, Manifest, ModelDiffers, Resource, hash_model
from vallum.models.signing.service import VerifiedModel, private_copy, sign_model, verified_copy, verify_model

__all__ = [
    "Difference",
    "Manifest",
    "ModelDiffers",
    "Resource",
    "SignatureRefused",
    "TrustPolicy",
    "TrustedCertificate",
    "TrustedKey",
    "VerifiedModel",
    "hash_model",
    "private_copy",
    "sign_model",
    "verified_copy",
    "verify_model",
]
