"""Which category a kind of data belongs to, which class that asks for, and what each class must have done to it.

Sources: GDPR articles 4, 9, 32 and 87; HIPAA 45 CFR 164.514; PCI DSS 4.0 requirement 3. What no table names is
personal: a guard added later must not make a column public.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

from vallum.inventory.model import CLASSIFICATIONS, Classification

__all__ = ["CONTROLS", "Category", "Control", "category_of", "class_of", "controls_of", "highest"]


class Category(StrEnum):
    PERSONAL = "personal"
    HEALTH = "health"
    FINANCIAL = "financial"
    CREDENTIAL = "credential"
    SPECIAL = "special"  # GDPR article 9, without health, which is counted by itself


class Control(StrEnum):
    """What must be true of a column before its data set is a governed version."""

    ENCRYPT_AT_REST = "encrypt_at_rest"  # the data set as a whole
    ENCRYPT_FIELD = "encrypt_field"  # the column under a key of its own
    PURPOSE = "purpose"  # only who names a purpose that lists the column has it
    MASK_BY_DEFAULT = "mask_by_default"  # readers without a decision for the column see it masked
    APPROVE_EXPORT = "approve_export"  # somebody else approves each export
    WATCH_ACCESS = "watch_access"
    EXPIRE = "expire"  # a retention schedule exists


_INTERNAL = frozenset({Control.ENCRYPT_AT_REST})
_CONFIDENTIAL = _INTERNAL | {Control.PURPOSE, Control.MASK_BY_DEFAULT, Control.WATCH_ACCESS, Control.EXPIRE}
CONTROLS: Mapping[Classification, frozenset[Control]] = MappingProxyType(
    {
        "public": frozenset(),
        "internal": _INTERNAL,
        "confidential": _CONFIDENTIAL,
        "restricted": _CONFIDENTIAL | {Control.ENCRYPT_FIELD, Control.APPROVE_EXPORT},
    }
)

_CLASS_OF: Mapping[Category, Classification] = MappingProxyType(
    {
        Category.PERSONAL: "confidential",
        Category.FINANCIAL: "restricted",
        Category.HEALTH: "restricted",
        Category.SPECIAL: "restricted",
        Category.CREDENTIAL: "restricted",
    }
)

_HEALTH = frozenset(
    {
        "au_medicare", "condition", "de_health_insurance", "diagnosis_code", "gb_nhs", "health", "health_plan_id",
        "medical_record_number", "medication", "us_medicare_id",
    }
)  # fmt: skip
_FINANCIAL = frozenset(
    {
        "bank_account", "bitcoin_address", "card_expiry", "card_pin", "card_security_code", "card_track",
        "ethereum_address", "financial", "iban", "payment_card", "swift_code", "uk_sort_code", "us_bank_routing",
    }
)  # fmt: skip
_SPECIAL = frozenset(
    {"biometric", "blood_type", "criminal", "ethnicity", "gene_variant", "orientation", "politics", "religion", "union"}
)
# One of these by itself is as good as a name: whoever has it can act as the person, or prove who they are.
_RESTRICTED = frozenset(
    {
        "drivers_license", "passport_mrz", "passport_number", "us_itin", "us_ssn", "national_id",
        "ca_sin", "cn_resident_id", "in_aadhaar", "kr_rrn", "fr_nir", "it_codice_fiscale", "br_cpf", "mx_curp",
        "ar_cuit", "at_svnr", "au_tfn", "be_national_number", "bg_egn", "ch_ahv", "cl_rut", "cz_rodne_cislo",
        "de_tax_id", "dk_cpr", "ee_isikukood", "es_dni", "es_nie", "fi_hetu", "gb_nino", "gr_amka", "hk_hkid",
        "hr_oib", "ie_pps", "il_id", "in_pan", "jp_my_number", "lt_asmens_kodas", "my_nric", "nl_bsn",
        "no_fodselsnummer", "nz_ird", "pl_pesel", "pt_nif", "ro_cnp", "se_personnummer", "sg_nric", "th_national_id",
        "tr_tckn", "tw_national_id", "za_id",
    }
)  # fmt: skip


def category_of(kind: str, guard: str = "pii") -> Category:
    """The category of a finding's kind. Everything that the guard for secrets finds is a credential."""
    if guard == "secrets" or kind == "credential":
        return Category.CREDENTIAL
    if kind in _HEALTH:
        return Category.HEALTH
    if kind in _FINANCIAL:
        return Category.FINANCIAL
    return Category.SPECIAL if kind in _SPECIAL else Category.PERSONAL


def class_of(kind: str, guard: str = "pii") -> Classification:
    """The least class that data of this kind may have."""
    return "restricted" if kind in _RESTRICTED else _CLASS_OF[category_of(kind, guard)]


def highest(classes: Iterable[Classification], least: Classification = "internal") -> Classification:
    """The strictest of them; `least` where there are none. Nothing is public because nothing was found in it."""
    return max([*classes, least], key=CLASSIFICATIONS.index)


def controls_of(classification: Classification) -> frozenset[Control]:
    return CONTROLS[classification]
