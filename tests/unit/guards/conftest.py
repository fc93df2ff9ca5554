"""Secret-looking values are put together here, so that no scanner of this repository meets one."""

import base64
import json
import random
import re
import string
from zlib import crc32

import pytest

from vallum.guards.credentials import CREDENTIAL_RULES
from vallum.guards.expressions import Choice, Expression, Letters, Literal, Repeat, Sequence

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase


def _mixed(seed: str, length: int, letters: str = _BASE62) -> str:
    return "".join(random.Random(seed).choices(letters, k=length))


def _crc_base62(stem: str) -> str:
    number, digits = crc32(stem.encode()), ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def _b64(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _secrets() -> dict[str, str]:
    github, npm = _mixed("gh", 30), _mixed("npm", 30)
    vallum = "vlm" + "_" + _mixed("vlm", 36)
    armour = "-----{} RSA " + "PRIVATE KEY-----"
    lines = "\n".join(_mixed(str(n), 64) for n in range(20))
    return {
        "anthropic_key": "sk-" + "ant-api03-" + _mixed("ant", 93),
        "openai_key": "sk-" + "proj-" + _mixed("oai", 48),
        "aws_access_key_id": "AK" + "IA" + _mixed("aws", 16, string.ascii_uppercase + string.digits),
        "github_token": "gh" + "p_" + github + _crc_base62(github),
        "github_pat": "github" + "_pat_" + _mixed("pat", 82),
        "gitlab_token": "gl" + "pat-" + _mixed("gl", 20),
        "slack_token": "xo" + "xb-" + _mixed("slack", 40, string.digits),
        "slack_webhook": "hooks.slack.com/" + "services/T0/" + _mixed("hook", 24),
        "stripe_key": "sk_" + "live_" + _mixed("stripe", 24),
        "stripe_webhook_secret": "wh" + "sec_" + _mixed("wh", 32),
        "google_api_key": "AI" + "za" + _mixed("google", 35),
        "google_client_secret": "GOC" + "SPX-" + _mixed("gcs", 28),
        "huggingface_token": "h" + "f_" + _mixed("hf", 34),
        "npm_token": "np" + "m_" + npm + _crc_base62(npm),
        "pypi_token": "pypi" + "-" + _mixed("pypi", 160),
        "sendgrid_key": "SG" + "." + _mixed("sg", 22) + "." + _mixed("sg2", 43),
        "twilio_key": "S" + "K" + _mixed("tw", 32, "0123456789abcdef"),
        "azure_storage_key": "Account" + "Key=" + _mixed("az", 86) + "==",
        "vallum_key": vallum + _crc_base62(vallum),
        "private_key": f"{armour.format('BEGIN')}\n{lines}\n{armour.format('END')}",
        "jwt": ".".join([_b64({"alg": "HS256", "typ": "JWT"}), _b64({"sub": "somebody"}), _mixed("jwt", 43)]),
        "url_password": "postgres://" + "app:" + _mixed("url", 16) + "@db.internal/app",
        "assigned_secret": "pass" + "word = " + _mixed("pw", 14) + "!7",
        "aws_secret_key": "aws_secret" + "_access_key=" + _mixed("awss", 40),
    }


def sample(expression: Expression, chance: random.Random) -> str:
    """A text that the expression matches."""
    match expression:
        case Literal(text):
            return text
        case Letters(members):
            return chance.choice(
                [c for c in string.printable[:95] if re.fullmatch(f"[{members}]", c) and c != " "] or [" "]
            )
        case Repeat(item, least, _):
            return "".join(sample(item, chance) for _ in range(least))
        case Sequence(items):
            return "".join(sample(item, chance) for item in items)
        case Choice(items):
            return sample(chance.choice(items), chance)
        case _:
            return ""


@pytest.fixture(scope="session")
def secrets():
    """One value of each kind of secret, by kind."""
    return {rule.kind: sample(rule.pattern, random.Random(rule.kind)) for rule in CREDENTIAL_RULES} | _secrets()


def _personal() -> dict[str, str]:
    """Numbers made up to pass their issuers' checks; brackets mark what is to be found."""
    return {
        "email": "[jane.doe+news@mail.example.com]",
        "phone": "[+49 30 12345678]",
        "payment_card": "[4111 1111 1111 1111]",
        "iban": "[DE89 3704 0044 0532 0130 00]",
        "us_ssn": "[536-22-8726]",
        "ip_address": "[203.0.113.77]",
        "gb_nino": "[AB 12 34 56 C]",
        "gb_nhs": "NHS number: [250 591 9607]",
        "de_tax_id": "Steuer-ID [86 794 103 544]",
        "de_health_insurance": "Versichertennummer: [A123456780]",
        "fr_nir": "[1 11 12 14606 856 74]",
        "es_dni": "[80383313S]",
        "es_nie": "[Z0485016C]",
        "it_codice_fiscale": "[RSSMRA25E24H327R]",
        "nl_bsn": "BSN: [094370643]",
        "be_national_number": "[91.05.10-359.26]",
        "pl_pesel": "PESEL [72080442151]",
        "se_personnummer": "[620816-7749]",
        "fi_hetu": "[081062-289J]",
        "dk_cpr": "CPR-nr. [081062-2895]",
        "no_fodselsnummer": "[190440 35556]",
        "pt_nif": "NIF: [176841652]",
        "ie_pps": "[7349935TH]",
        "ch_ahv": "[756.2702.0201.04]",
        "at_svnr": "SVNR [4658 130846]",
        "ro_cnp": "[1751120086360]",
        "bg_egn": "EGN: [9004031156]",
        "cz_rodne_cislo": "[851204/9271]",
        "gr_amka": "AMKA [09058551913]",
        "ee_isikukood": "isikukood: [39803093439]",
        "lt_asmens_kodas": "asmens kodas: [34005211531]",
        "hr_oib": "OIB: [09372648556]",
        "tr_tckn": "TCKN: [99195941670]",
        "br_cpf": "[285.973.621-20]",
        "br_cnpj": "[99.795.444/8337-66]",
        "ca_sin": "SIN [392 939 062]",
        "mx_curp": "[BOXW920826MDFRRN06]",
        "cl_rut": "[25.495.786-0]",
        "ar_cuit": "[20-65620519-9]",
        "us_itin": "[952-81-4652]",
        "us_bank_routing": "routing number: [242265852]",
        "us_ein": "EIN: [12-3456789]",
        "in_aadhaar": "[9452 8894 1314]",
        "in_pan": "[ABCPE1234F]",
        "cn_resident_id": "[36042619911228086X]",
        "kr_rrn": "[791117-2005785]",
        "jp_my_number": "My Number: [635870535010]",
        "sg_nric": "[S1234567D]",
        "hk_hkid": "[A123456(3)]",
        "tw_national_id": "[A123456789]",
        "th_national_id": "[5-5691-32583-60-1]",
        "my_nric": "[550719-09-6826]",
        "za_id": "[8807161334081]",
        "il_id": "ID number: [757316732]",
        "au_tfn": "TFN [462 619 401]",
        "au_medicare": "Medicare: [2123 45670 1]",
        "nz_ird": "IRD: [146-802-885]",
        "date_of_birth": "date of birth: [1984-03-05]",
        "passport_number": "passport no. [C01234567]",
        "drivers_license": "driver's license: [D1234567]",
        "license_plate": "license plate: [B-AB 1234]",
        "passport_mrz": "[L898902C36UTO7408122F1204159ZE184226B<<<<<10]",
        "vehicle_id": "[1M8GDM9AXKP042788]",
        "imei": "IMEI: [490154203237518]",
        "mac_address": "[00:1A:2b:3c:4D:5e]",
        "bitcoin_address": "[1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa]",
        "ethereum_address": "[0x52908400098527886E0F7030069857D2E4169EE7]",
        "bank_account": "account number: [00123456789]",
        "uk_sort_code": "sort code [20-32-06]",
        "swift_code": "SWIFT code: [DEUTDEFF500]",
        "card_security_code": "CVV: [123]",
        "card_expiry": "expiry [04/29]",
        "card_pin": "PIN: [4711]",
        "card_track": "[%B4111111111111111^DOE/JANE^29041010000000000000?]",
        "medical_record_number": "MRN: [A-1234567]",
        "us_npi": "NPI: [1234567893]",
        "us_dea": "DEA: [AB1234563]",
        "us_medicare_id": "[1EG4-TE5-MK73]",
        "health_plan_id": "member id: [XYZ123456789]",
        "diagnosis_code": "diagnosis: [E11.9]",
        "coordinates": "GPS: [52.520008, 13.404954]",
    }


@pytest.fixture(scope="session")
def personal():
    """A text with one value of each kind of personal data, by kind."""
    return {kind: text.replace("[", "").replace("]", "") for kind, text in _personal().items()}


@pytest.fixture(scope="session")
def personal_values():
    """The part of each of those that is the datum itself."""
    return {kind: text[text.index("[") + 1 : text.index("]")] for kind, text in _personal().items()}
