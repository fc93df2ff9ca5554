"""National identity, tax and health numbers of people, with the checks their issuers give them.

A number whose form is its own (letters, separators, a strong checksum) is found anywhere. One that is only a run of
digits is found behind a word that names it, since one run in ten passes a check digit by chance.
"""

import re
from collections.abc import Callable

from vallum.guards.checksums import is_date, iso7064_11_2, iso7064_11_10, luhn, verhoeff, weighted
from vallum.guards.expressions import BOUNDARY, Expression, choice, letters, literal, many, maybe, sequence
from vallum.guards.patterns import Beginning, Check, Rule

__all__ = ["NATIONAL_RULES", "named"]

_DIGIT = letters("0-9")
_UPPER = letters("A-Z")
_GAP = maybe(letters(" .-"))
_STRIP = str.maketrans("", "", " .-/()")


def _valid(test: Callable[[str], bool]) -> Check:
    """The whole candidate, if `test` holds for it without separators."""

    def check(candidate: str) -> tuple[int, int] | int:
        return (0, len(candidate)) if test(candidate.translate(_STRIP).upper()) else 1

    return check


def _labelled(words: tuple[str, ...], number: Expression, test: Callable[[str], bool]) -> tuple[Expression, Check]:
    """`number` behind one of `words` and little else; the finding is the number alone."""

    value_at_end = re.compile(rf"(?:{number.full()})\Z")

    def check(candidate: str) -> tuple[int, int] | int:
        value = value_at_end.search(candidate)
        if value is None or not test(value[0].translate(_STRIP).upper()):
            return len(candidate)
        return value.span()

    label = choice(*(literal(word, folded=True) for word in words))
    return sequence(BOUNDARY, label, many(_MORE, 0, 2), many(":=#\"' \\t\\r\\n.", 1, 6), number, BOUNDARY), check


# What may stand between the word that names a number and the number: "tax-ID no.", "Versichertennummer is".
_MORE = sequence(
    many(" ._-", 0, 2),
    choice(
        *(
            literal(word, folded=True)
            for word in ("number", "nummer", "num", "no", "nr", "id", "code", "it's", "is", "was", "kodas", "at", "on")
        )
    ),
)


def _digits(count: int) -> Expression:
    """So many digits, with a separator or none between them."""
    return sequence(_DIGIT, many(sequence(_GAP, _DIGIT), count - 1, count - 1))


def _date6(digits: str) -> bool:
    """yymmdd"""
    return is_date(int(digits[:2]), int(digits[2:4]), int(digits[4:6]))


def _date6_reversed(digits: str) -> bool:
    """ddmmyy"""
    return is_date(int(digits[4:6]), int(digits[2:4]), int(digits[:2]))


# Europe


def _gb_nino(n: str) -> bool:
    return n[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")


def _gb_nhs(n: str) -> bool:
    check = 11 - weighted(n[:9], range(10, 1, -1)) % 11
    return check % 11 == int(n[9]) and check != 10


def _de_tax(n: str) -> bool:
    counts = sorted(n[:10].count(d) for d in set(n[:10]))
    return n[0] != "0" and counts[-1] in (2, 3) and counts[-2] == 1 and iso7064_11_10(n)


def _de_health(n: str) -> bool:
    """Krankenversichertennummer: the letter counts as its place in the alphabet."""
    spelled = f"{ord(n[0]) - 64:02d}{n[1:9]}"
    total = sum(sum(divmod(int(d) * (1 + i % 2), 10)) for i, d in enumerate(spelled))
    return total % 10 == int(n[9])


def _fr_nir(n: str) -> bool:
    number = n[:13].replace("2A", "19").replace("2B", "18")
    return number.isdigit() and 97 - int(number) % 97 == int(n[13:]) and (1 <= int(n[3:5]) <= 12 or int(n[3:5]) >= 20)


_DNI = "TRWAGMYFPDXBNJZSQVHLCKE"


def _es_dni(n: str) -> bool:
    return _DNI[int(n[:8]) % 23] == n[8]


def _es_nie(n: str) -> bool:
    return _DNI[int(str("XYZ".index(n[0])) + n[1:8]) % 23] == n[8]


_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def _it_cf(n: str) -> bool:
    odd = sum(_CF_ODD[c] for c in n[0:15:2])
    even = sum(int(c) if c.isdigit() else ord(c) - 65 for c in n[1:15:2])
    return chr(65 + (odd + even) % 26) == n[15]


def _nl_bsn(n: str) -> bool:
    return (weighted(n[:8], range(9, 1, -1)) - int(n[8])) % 11 == 0 and n.strip("0") != ""


def _be_national(n: str) -> bool:
    last = int(n[9:])
    if int(n[2:4]) % 20 > 12 or int(n[4:6]) > 31:
        return False
    return 97 - int(n[:9]) % 97 == last or 97 - int("2" + n[:9]) % 97 == last


def _pl_pesel(n: str) -> bool:
    month = int(n[2:4]) % 20
    if not 1 <= month <= 12 or not 1 <= int(n[4:6]) <= 31:
        return False
    return (10 - weighted(n, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(n[10])


def _se_personnummer(n: str) -> bool:
    n = n.replace("+", "")[-10:]
    return is_date(int(n[:2]), int(n[2:4]), int(n[4:6]) - 60 * (int(n[4:6]) > 60)) and luhn(n)


def _fi_hetu(n: str) -> bool:
    digits = n[:6] + n[-4:-1]
    return _date6_reversed(n) and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == n[-1]


def _no_fnr(n: str) -> bool:
    day = int(n[:2]) - 40 * (int(n[:2]) > 40)
    month = int(n[2:4]) - 40 * (int(n[2:4]) > 40)
    if not is_date(int(n[4:6]), month, day):
        return False
    first = -weighted(n[:9], (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
    second = -weighted(n[:10], (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return first == int(n[9]) and second == int(n[10])


def _dk_cpr(n: str) -> bool:
    return _date6_reversed(n)


def _pt_nif(n: str) -> bool:
    check = 11 - weighted(n[:8], range(9, 1, -1)) % 11
    return (0 if check > 9 else check) == int(n[8]) and n[0] != "0"


def _ie_pps(n: str) -> bool:
    extra = (ord(n[8]) - 64) * 9 if len(n) > 8 and n[8] != "W" else 0
    return "WABCDEFGHIJKLMNOPQRSTUV"[(weighted(n[:7], range(8, 1, -1)) + extra) % 23] == n[7]


def _ch_ahv(n: str) -> bool:
    return (10 - weighted(n, (1, 3) * 6) % 10) % 10 == int(n[12])


def _at_svnr(n: str) -> bool:
    return weighted(n, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == int(n[3]) and n[0] != "0"


def _ro_cnp(n: str) -> bool:
    check = weighted(n, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    return _date6(n[1:]) and (1 if check == 10 else check) == int(n[12])


def _bg_egn(n: str) -> bool:
    month = int(n[2:4]) % 20
    check = weighted(n, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10
    return is_date(int(n[:2]), month, int(n[4:6])) and check == int(n[9])


def _cz_rc(n: str) -> bool:
    month = int(n[2:4])
    month -= 50 * (month > 50)
    month -= 20 * (month > 20)
    return is_date(int(n[:2]), month, int(n[4:6])) and (int(n[:9]) % 11 % 10 == int(n[9]))


def _gr_amka(n: str) -> bool:
    return _date6_reversed(n) and luhn(n)


def _baltic(n: str) -> bool:
    check = weighted(n, (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)) % 11
    if check == 10:
        check = weighted(n, (3, 4, 5, 6, 7, 8, 9, 1, 2, 3)) % 11 % 10
    return _date6(n[1:]) and check == int(n[10])


def _tr_tckn(n: str) -> bool:
    odd, even = sum(map(int, n[0:9:2])), sum(map(int, n[1:8:2]))
    return n[0] != "0" and (odd * 7 - even) % 10 == int(n[9]) and sum(map(int, n[:10])) % 10 == int(n[10])


# The Americas


def _br_cpf(n: str) -> bool:
    if len(set(n)) == 1:
        return False
    first = weighted(n[:9], range(10, 1, -1)) * 10 % 11 % 10
    return first == int(n[9]) and weighted(n[:10], range(11, 1, -1)) * 10 % 11 % 10 == int(n[10])


def _br_cnpj(n: str) -> bool:
    weights = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    first = -weighted(n[:12], weights[1:]) % 11 % 10
    return first == int(n[12]) and -weighted(n[:13], weights) % 11 % 10 == int(n[13])


def _ca_sin(n: str) -> bool:
    return n[0] not in "08" and luhn(n)


_CURP = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ"


def _mx_curp(n: str) -> bool:
    total = sum(_CURP.index(c) * (18 - i) for i, c in enumerate(n[:17]))
    return _date6(n[4:]) and str(-total % 10) == n[17]


def _cl_rut(n: str) -> bool:
    total = sum(int(d) * (2 + i % 6) for i, d in enumerate(reversed(n[:-1])))
    return "0123456789K"[-total % 11] == n[-1]


def _ar_cuit(n: str) -> bool:
    return "01234567899"[-weighted(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11] == n[10]


def _us_itin(n: str) -> bool:
    group = int(n[3:5])
    return n[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


def _us_routing(n: str) -> bool:
    return weighted(n, (3, 7, 1, 3, 7, 1, 3, 7, 1)) % 10 == 0 and n.strip("0") != ""


# Asia, Africa and the Pacific


def _in_aadhaar(n: str) -> bool:
    return n[0] in "23456789" and n != n[::-1] and verhoeff(n)


def _cn_ric(n: str) -> bool:
    return is_date(int(n[6:10]), int(n[10:12]), int(n[12:14])) and iso7064_11_2(n)


def _kr_rrn(n: str) -> bool:
    check = (11 - weighted(n, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return _date6(n) and check == int(n[12])


def _jp_my_number(n: str) -> bool:
    check = 11 - weighted(n, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return (0 if check > 9 else check) == int(n[11])


def _sg_nric(n: str) -> bool:
    total = weighted(n[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if n[0] in "TG" else 3 if n[0] == "M" else 0)
    if n[0] == "M":
        return "XWUTRQPNJLK"[10 - total % 11 if total % 11 <= 10 else 0] == n[8]
    return ("JZIHGFEDCBA" if n[0] in "ST" else "XWUTRQPNMLK")[total % 11] == n[8]


def _hk_hkid(n: str) -> bool:
    body, check = n[:-1], n[-1]
    values = [36] * (8 - len(body)) + [int(c) if c.isdigit() else ord(c) - 55 for c in body]
    total = sum(v * w for v, w in zip(values, range(9, 1, -1), strict=True))
    return "0123456789A"[-total % 11] == check


_TW_LETTERS = "ABCDEFGHJKLMNPQRSTUVXYWZIO"


def _tw_id(n: str) -> bool:
    code = _TW_LETTERS.index(n[0]) + 10
    return (code // 10 + code % 10 * 9 + weighted(n[1:], (8, 7, 6, 5, 4, 3, 2, 1, 1))) % 10 == 0


def _th_id(n: str) -> bool:
    return (11 - weighted(n[:12], range(13, 1, -1)) % 11) % 10 == int(n[12]) and n[0] != "0"


_MY_NO_PLACE = ("00", "17", "18", "19", "20", "69", "70", "73", "80", "81", "94", "95", "96", "97")


def _my_nric(n: str) -> bool:
    return _date6(n) and n[6:8] not in _MY_NO_PLACE


def _za_id(n: str) -> bool:
    return _date6(n) and n[10] in "012" and luhn(n)


def _au_tfn(n: str) -> bool:
    return weighted(n, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _au_medicare(n: str) -> bool:
    return n[0] in "23456" and weighted(n, (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == int(n[8])


def _nz_ird(n: str) -> bool:
    n = n.zfill(9)
    check = -weighted(n[:8], (3, 2, 7, 6, 5, 4, 3, 2)) % 11
    if check == 10:
        check = -weighted(n[:8], (7, 4, 3, 2, 5, 2, 7, 6)) % 11
    return check == int(n[8]) and 10_000_000 < int(n) < 150_000_000


def _any(number: str) -> bool:
    return True


def _plain(kind: str, number: Expression, test: Callable[[str], bool]) -> Rule:
    return Rule(kind, sequence(BOUNDARY, number, BOUNDARY), _valid(test), Beginning.FIGURES)


def named(kind: str, words: tuple[str, ...], number: Expression, test: Callable[[str], bool] = _any) -> Rule:
    """A rule for `number` where one of `words` names it; `test` sees it without separators, in upper case."""
    expression, check = _labelled(words, number, test)
    return Rule(kind, expression, check, Beginning.LABEL, words)


_YYMMDD = sequence(many(_DIGIT, 2, 2), letters("0-9"), _DIGIT, letters("0-7"), _DIGIT)

NATIONAL_RULES = (
    _plain(
        "gb_nino",
        sequence(
            letters("A-CEGHJ-PR-TW-Z"),
            letters("A-CEGHJ-NPR-TW-Z"),
            *([maybe(" "), many(_DIGIT, 2, 2)] * 3),
            maybe(" "),
            letters("A-D"),
        ),
        _gb_nino,
    ),
    named("gb_nhs", ("nhs",), _digits(10), _gb_nhs),
    named("de_tax_id", ("steuer", "idnr", "tax id", "tin"), _digits(11), _de_tax),
    named(
        "de_health_insurance",
        ("versicherten", "krankenvers", "kvnr", "health insurance"),
        sequence(_UPPER, many(_DIGIT, 9, 9)),
        _de_health,
    ),
    _plain(
        "fr_nir",
        sequence(
            letters("1-478"),
            _GAP,
            many(_DIGIT, 2, 2),
            _GAP,
            many(_DIGIT, 2, 2),
            _GAP,
            _DIGIT,
            letters("0-9AB"),
            _GAP,
            many(_DIGIT, 3, 3),
            _GAP,
            many(_DIGIT, 3, 3),
            _GAP,
            many(_DIGIT, 2, 2),
        ),
        _fr_nir,
    ),
    _plain("es_dni", sequence(many(_DIGIT, 8, 8), maybe("-"), letters("A-HJ-NP-TV-Z")), _es_dni),
    _plain(
        "es_nie", sequence(letters("XYZ"), maybe("-"), many(_DIGIT, 7, 7), maybe("-"), letters("A-HJ-NP-TV-Z")), _es_nie
    ),
    _plain(
        "it_codice_fiscale",
        sequence(
            many(_UPPER, 6, 6),
            many("0-9LMNPQRSTUV", 2, 2),
            letters("ABCDEHLMPRST"),
            many("0-9LMNPQRSTUV", 2, 2),
            _UPPER,
            many("0-9LMNPQRSTUV", 3, 3),
            _UPPER,
        ),
        _it_cf,
    ),
    named("nl_bsn", ("bsn", "burgerservicenummer", "sofi"), _digits(9), _nl_bsn),
    _plain(
        "be_national_number",
        sequence(
            many(_DIGIT, 2, 2),
            ".",
            many(_DIGIT, 2, 2),
            ".",
            many(_DIGIT, 2, 2),
            "-",
            many(_DIGIT, 3, 3),
            ".",
            many(_DIGIT, 2, 2),
        ),
        _be_national,
    ),
    named(
        "be_national_number",
        ("rijksregister", "registre national", "national number", "nrn"),
        _digits(11),
        _be_national,
    ),
    named("pl_pesel", ("pesel",), _digits(11), _pl_pesel),
    _plain(
        "se_personnummer",
        sequence(maybe(choice("19", "20")), many(_DIGIT, 6, 6), letters("+-"), many(_DIGIT, 4, 4)),
        _se_personnummer,
    ),
    _plain(
        "fi_hetu",
        sequence(many(_DIGIT, 6, 6), letters("+A-FU-Y-"), many(_DIGIT, 3, 3), letters("0-9A-FHJ-NPR-Y")),
        _fi_hetu,
    ),
    named(
        "dk_cpr",
        ("cpr", "personnummer"),
        sequence(many(_DIGIT, 6, 6), maybe(letters(" -")), many(_DIGIT, 4, 4)),
        _dk_cpr,
    ),
    _plain("no_fodselsnummer", sequence(many(_DIGIT, 6, 6), maybe(" "), many(_DIGIT, 5, 5)), _no_fnr),
    named("pt_nif", ("nif", "contribuinte"), _digits(9), _pt_nif),
    _plain("ie_pps", sequence(many(_DIGIT, 7, 7), letters("A-W"), maybe(letters("A-IW"))), _ie_pps),
    _plain(
        "ch_ahv",
        sequence("756", *([_GAP, many(_DIGIT, 4, 4)] * 2), _GAP, many(_DIGIT, 2, 2)),
        _ch_ahv,
    ),
    named("at_svnr", ("svnr", "sozialversicherung", "versicherungsnummer"), _digits(10), _at_svnr),
    _plain("ro_cnp", sequence(letters("1-9"), _YYMMDD, many(_DIGIT, 6, 6)), _ro_cnp),
    named("bg_egn", ("egn", "personal number"), _digits(10), _bg_egn),
    _plain("cz_rodne_cislo", sequence(many(_DIGIT, 6, 6), "/", many(_DIGIT, 4, 4)), _cz_rc),
    named("gr_amka", ("amka",), _digits(11), _gr_amka),
    named("ee_isikukood", ("isikukood", "personal code"), _digits(11), _baltic),
    named("lt_asmens_kodas", ("asmens",), _digits(11), _baltic),
    named("hr_oib", ("oib",), _digits(11), iso7064_11_10),
    named("tr_tckn", ("tckn", "t.c. kimlik", "tc kimlik", "kimlik"), _digits(11), _tr_tckn),
    _plain(
        "br_cpf",
        sequence(many(_DIGIT, 3, 3), ".", many(_DIGIT, 3, 3), ".", many(_DIGIT, 3, 3), "-", many(_DIGIT, 2, 2)),
        _br_cpf,
    ),
    named("br_cpf", ("cpf",), _digits(11), _br_cpf),
    _plain(
        "br_cnpj",
        sequence(
            many(_DIGIT, 2, 2),
            ".",
            many(_DIGIT, 3, 3),
            ".",
            many(_DIGIT, 3, 3),
            "/",
            many(_DIGIT, 4, 4),
            "-",
            many(_DIGIT, 2, 2),
        ),
        _br_cnpj,
    ),
    named("ca_sin", ("sin", "social insurance", "nas"), _digits(9), _ca_sin),
    _plain(
        "mx_curp",
        sequence(many(_UPPER, 4, 4), many(_DIGIT, 6, 6), letters("HMX"), many(_UPPER, 5, 5), letters("0-9A-Z"), _DIGIT),
        _mx_curp,
    ),
    _plain(
        "cl_rut",
        sequence(many(_DIGIT, 1, 2), ".", many(_DIGIT, 3, 3), ".", many(_DIGIT, 3, 3), "-", letters("0-9Kk")),
        _cl_rut,
    ),
    _plain("ar_cuit", sequence(letters("23"), letters("0347"), "-", many(_DIGIT, 8, 8), "-", _DIGIT), _ar_cuit),
    _plain(
        "us_itin",
        sequence("9", many(_DIGIT, 2, 2), letters(" -"), letters("5-9"), _DIGIT, letters(" -"), many(_DIGIT, 4, 4)),
        _us_itin,
    ),
    named("us_bank_routing", ("routing", "aba", "rtn"), many(_DIGIT, 9, 9), _us_routing),
    named("us_ein", ("ein", "employer identification"), sequence(many(_DIGIT, 2, 2), "-", many(_DIGIT, 7, 7))),
    _plain(
        "in_aadhaar",
        sequence(
            letters("2-9"), many(_DIGIT, 3, 3), letters(" -"), many(_DIGIT, 4, 4), letters(" -"), many(_DIGIT, 4, 4)
        ),
        _in_aadhaar,
    ),
    named("in_aadhaar", ("aadhaar", "aadhar", "uidai"), many(_DIGIT, 12, 12), _in_aadhaar),
    _plain("in_pan", sequence(many(_UPPER, 3, 3), letters("ABCFGHJLPT"), _UPPER, many(_DIGIT, 4, 4), _UPPER), _any),
    _plain(
        "cn_resident_id",
        sequence(letters("1-9"), many(_DIGIT, 5, 5), choice("19", "20"), many(_DIGIT, 9, 9), letters("0-9Xx")),
        _cn_ric,
    ),
    _plain("kr_rrn", sequence(many(_DIGIT, 6, 6), "-", letters("1-8"), many(_DIGIT, 6, 6)), _kr_rrn),
    named("jp_my_number", ("my number", "mynumber", "individual number"), _digits(12), _jp_my_number),
    _plain("sg_nric", sequence(letters("STFGM"), many(_DIGIT, 7, 7), _UPPER), _sg_nric),
    Rule(
        "hk_hkid",
        sequence(BOUNDARY, many(_UPPER, 1, 2), many(_DIGIT, 6, 6), "(", letters("0-9A"), ")"),
        _valid(_hk_hkid),
    ),
    _plain("tw_national_id", sequence(_UPPER, letters("1289"), many(_DIGIT, 8, 8)), _tw_id),
    _plain(
        "th_national_id",
        sequence(
            letters("1-8"), "-", many(_DIGIT, 4, 4), "-", many(_DIGIT, 5, 5), "-", many(_DIGIT, 2, 2), "-", _DIGIT
        ),
        _th_id,
    ),
    _plain("my_nric", sequence(many(_DIGIT, 6, 6), "-", many(_DIGIT, 2, 2), "-", many(_DIGIT, 4, 4)), _my_nric),
    _plain("za_id", sequence(_YYMMDD, many(_DIGIT, 4, 4), letters("012"), many(_DIGIT, 2, 2)), _za_id),
    named("il_id", ("teudat", "israeli id", "id number"), many(_DIGIT, 9, 9), luhn),
    named("au_tfn", ("tfn", "tax file"), _digits(9), _au_tfn),
    named("au_medicare", ("medicare",), _digits(10), _au_medicare),
    named("nz_ird", ("ird",), sequence(_DIGIT, many(sequence(_GAP, _DIGIT), 7, 8)), _nz_ird),
)
