"""Our arithmetic beside an independent implementation: what it accepts we accept, and we accept little more."""

import importlib
import random

import pytest

from vallum.guards import checksums, national

CHANCE = random.Random(4)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def digits(count):
    return "".join(CHANCE.choices("0123456789", k=count))


def between(low, high):
    return f"{CHANCE.randint(low, high):02d}"


def ymd():
    return between(40, 99) + between(1, 12) + between(1, 28)


def dmy():
    day = ymd()
    return day[4:] + day[2:4] + day[:2]


SCHEMES = {
    "luhn": (checksums.luhn, lambda: digits(12)),
    "verhoeff": (checksums.verhoeff, lambda: digits(12)),
    "gb.nhs": (national._gb_nhs, lambda: digits(10)),
    "de.idnr": (national._de_tax, lambda: digits(11)),
    "fr.nir": (national._fr_nir, lambda: f"1{digits(2)}{between(1, 12)}{digits(8)}{between(1, 97)}"),
    "es.dni": (national._es_dni, lambda: digits(8) + CHANCE.choice(national._DNI)),
    "es.nie": (national._es_nie, lambda: CHANCE.choice("XYZ") + digits(7) + CHANCE.choice(national._DNI)),
    "it.codicefiscale": (
        national._it_cf, lambda: f"RSSMRA{digits(2)}H{between(1, 28)}H{digits(3)}{CHANCE.choice(LETTERS)}"
    ),
    "nl.bsn": (national._nl_bsn, lambda: digits(9)),
    "be.nn": (national._be_national, lambda: ymd() + digits(5)),
    "pl.pesel": (national._pl_pesel, lambda: ymd() + digits(5)),
    "se.personnummer": (national._se_personnummer, lambda: ymd() + "-" + digits(4)),
    "no.fodselsnummer": (national._no_fnr, lambda: dmy() + digits(5)),
    "pt.nif": (national._pt_nif, lambda: digits(9)),
    "ie.pps": (national._ie_pps, lambda: digits(7) + CHANCE.choice(LETTERS[:23]) + CHANCE.choice(["", "A", "H"])),
    "ch.ssn": (national._ch_ahv, lambda: "756" + digits(10)),
    "at.vnr": (national._at_svnr, lambda: digits(4) + dmy()),
    "ro.cnp": (national._ro_cnp, lambda: f"1{ymd()}{between(1, 40)}{digits(4)}"),
    "bg.egn": (national._bg_egn, lambda: ymd() + digits(4)),
    "cz.rc": (national._cz_rc, lambda: ymd() + digits(4)),
    "gr.amka": (national._gr_amka, lambda: dmy() + digits(5)),
    "ee.ik": (national._baltic, lambda: "3" + ymd() + digits(4)),
    "lt.asmens": (national._baltic, lambda: "4" + ymd() + digits(4)),
    "hr.oib": (checksums.iso7064_11_10, lambda: digits(11)),
    "tr.tckimlik": (national._tr_tckn, lambda: digits(11)),
    "br.cpf": (national._br_cpf, lambda: digits(11)),
    "br.cnpj": (national._br_cnpj, lambda: digits(14)),
    "ca.sin": (national._ca_sin, lambda: digits(9)),
    "mx.curp": (national._mx_curp, lambda: f"BOXW{ymd()}MDFRRN0{digits(1)}"),
    "cl.rut": (national._cl_rut, lambda: digits(8) + CHANCE.choice("0123456789K")),
    "ar.cuit": (national._ar_cuit, lambda: "20" + digits(9)),
    "us.rtn": (national._us_routing, lambda: digits(9)),
    "in_.aadhaar": (national._in_aadhaar, lambda: digits(12)),
    "kr.rrn": (national._kr_rrn, lambda: f"{ymd()}100{digits(4)}"),
    "jp.in_": (national._jp_my_number, lambda: digits(12)),
    "th.pin": (national._th_id, lambda: CHANCE.choice("12345678") + digits(12)),
    "za.idnr": (national._za_id, lambda: f"{ymd()}{digits(4)}0{digits(2)}"),
    "au.tfn": (national._au_tfn, lambda: digits(9)),
    "nz.ird": (national._nz_ird, lambda: digits(9)),
}  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_scheme_agrees_with_an_independent_implementation(scheme):
    ours, make = SCHEMES[scheme]
    theirs = importlib.import_module(f"stdnum.{scheme}").is_valid
    accepted = valid = 0
    for _ in range(4000):
        number = make()
        mine = ours(number.replace("-", ""))
        if theirs(number):
            assert mine, number
            valid += 1
        accepted += mine
    assert valid
    assert accepted <= valid * 2.5  # theirs knows which centuries and places were issued


def test_a_flipped_digit_is_seen():
    for number, test in (
        ("4111111111111111", checksums.luhn),
        ("945288941314", checksums.verhoeff),
        ("09372648556", checksums.iso7064_11_10),
    ):
        assert test(number)
        for at in range(len(number)):
            for other in set("0123456789") - {number[at]}:
                assert not test(number[:at] + other + number[at + 1 :])
