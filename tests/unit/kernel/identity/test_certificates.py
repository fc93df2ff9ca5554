"""Certificates: who they say somebody is, and who may say so."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from vallum.kernel.errors import Invalid, NotFound
from vallum.kernel.identity import NameTaken, SignInRefused, WorkloadAuthority
from vallum.kernel.identity.certificates import CertificateRefused, parse_spiffe_id

OWN = "spiffe://vallum.local/service/job"
P256, MESH = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def request(key=P256, algorithm=hashes.SHA256(), names=()):
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, algorithm).public_bytes(Encoding.PEM).decode()


def der_of(issued):
    return ssl.PEM_cert_to_DER_cert(issued.certificate)


@pytest.fixture
def authority(identity):
    return identity.services.authority


@pytest.fixture
def of_the_mesh(clock):
    """A certificate as an organisation's mesh would issue it, or somebody who controls that mesh."""

    def _of_the_mesh(*uris, ca=False, key=MESH, issuer="mesh", basic=True):
        now = clock.now()
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)])
        builder = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(name).public_key(P256.public_key())
            .serial_number(7).not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
        )  # fmt: skip
        if uris:
            names = [x509.UniformResourceIdentifier(uri) for uri in uris]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        if basic:
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
        return builder.sign(key, algorithm).public_bytes(Encoding.DER)

    return _of_the_mesh


def test_the_authority_is_the_same_in_every_process(authority, open_identity):
    other = open_identity().services.authority
    assert other.pem == authority.pem
    authority.certificate.verify_directly_issued_by(authority.certificate)
    constraints = authority.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, True, 0)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(P256, hashes.SHA256()), (ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
     (ed25519.Ed25519PrivateKey.generate(), None), (rsa.generate_private_key(65537, 2048), hashes.SHA256())],
)  # fmt: skip
def test_a_certificate_says_who_and_for_how_long(authority, clock, key, algorithm):
    names = [x509.DNSName("evil.example"), x509.UniformResourceIdentifier("spiffe://vallum.local/service/root")]
    issued = authority.issue("svc_1", OWN, request(key, algorithm, names), 3600)
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(issued.authority.encode()))
    assert certificate.public_key() == key.public_key()
    assert (
        issued.expires_at_seconds == certificate.not_valid_after_utc.timestamp() == int(clock.now().timestamp()) + 3600
    )
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in san] == [OWN]  # nothing of the request's own wishes
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    assert authority.identify(der_of(issued)) == (OWN, int(clock.now().timestamp()))


def altered(pem):
    body = bytearray(x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER))
    body[-1] ^= 1  # of the signature
    return "-----BEGIN CERTIFICATE REQUEST-----\n" + ssl.DER_cert_to_PEM_cert(bytes(body)).split("\n", 1)[1].replace(
        "END CERTIFICATE", "END CERTIFICATE REQUEST"
    )


@pytest.mark.parametrize(
    "csr",
    ["", "hello", request()[:200], altered(request()), "x" * 20_000, "\ud800",
     request(ec.generate_private_key(ec.SECP521R1())),
     request(ec.generate_private_key(ec.SECP256K1())), request(ed448.Ed448PrivateKey.generate(), None),
     request(rsa.generate_private_key(65537, 1024))],
)  # fmt: skip
def test_requests_that_are_none(authority, csr):
    with pytest.raises(Invalid, match="csr"):
        authority.issue("svc_1", OWN, csr, 3600)


def test_lifetimes_and_other_domains(authority):
    for seconds in (0, 299, 7 * 86_400 + 1):
        with pytest.raises(Invalid, match="lives"):
            authority.issue("svc_1", OWN, request(), seconds)
    for other in ("spiffe://mesh.example/job", "spiffe://vallum.local.evil/service/job", "spiffe://vallum.localx/y"):
        with pytest.raises(Invalid, match="another trust domain"):
            authority.issue("svc_1", other, request(), 3600)


def test_nobody_speaks_for_anothers_domain(authority, of_the_mesh, keyring, clock):
    """A mesh whose authority is trusted for its own services makes nobody a service of this installation's domain."""
    assert (
        authority.identify(of_the_mesh("spiffe://mesh.example/ns/prod/sa/job"))[0]
        == "spiffe://mesh.example/ns/prod/sa/job"
    )
    with pytest.raises(CertificateRefused):
        authority.identify(of_the_mesh(OWN))
    own_name = authority.certificate.subject.rfc4514_string().removeprefix("CN=")
    with pytest.raises(CertificateRefused):  # under this authority's name, and not by its key
        authority.identify(of_the_mesh(OWN, issuer=own_name))
    # And this authority, for another domain, were its key ever to sign such a thing.
    with pytest.raises(CertificateRefused):
        authority.identify(
            of_the_mesh("spiffe://mesh.example/x", key=keyring.signing_key("workload-ca"), issuer=own_name)
        )


@pytest.mark.parametrize(
    "uris",
    [(), ("spiffe://mesh.example/a", "spiffe://mesh.example/b"), ("https://mesh.example/a",), ("spiffe://mesh.example",),
     ("spiffe://mesh.example/",), ("spiffe://MESH.example/a",), ("spiffe://mesh.example/a/../b",),
     ("spiffe://mesh.example/a?x",), ("spiffe://user@mesh.example/a",), ("spiffe://mesh.example:1/a",)],
)  # fmt: skip
def test_names_that_are_no_spiffe_id(authority, of_the_mesh, uris):
    with pytest.raises(CertificateRefused):
        authority.identify(of_the_mesh(*uris))


def test_an_authority_is_no_service(authority, of_the_mesh):
    with pytest.raises(CertificateRefused):
        authority.identify(of_the_mesh("spiffe://mesh.example/a", ca=True))
    assert authority.identify(of_the_mesh("spiffe://mesh.example/a", basic=False))
    with pytest.raises(CertificateRefused):
        authority.identify(authority.certificate.public_bytes(Encoding.DER))


KEY = ed25519.Ed25519PrivateKey.generate()


class FixedClock:
    @staticmethod
    def now():
        return datetime(2026, 5, 4, tzinfo=UTC)


class _Keys:
    def signing_key(self, name):
        return KEY


GOOD = der_of(WorkloadAuthority(_Keys(), FixedClock, "vallum.local").issue("svc_1", OWN, request(), 3600))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_changed_bit_makes_another_service():
    for bit in range(len(GOOD) * 8):
        changed = bytearray(GOOD)
        changed[bit // 8] ^= 1 << bit % 8
        _refused_or_the_same(bytes(changed))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
@given(st.binary(max_size=300) | st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6))
def test_noise_is_refused(noise):
    if isinstance(noise, list):
        body = bytearray(GOOD)
        for place, value in noise:
            body[place % len(body)] = value
        noise = bytes(body)
    _refused_or_the_same(noise)


def _refused_or_the_same(der):
    authority = WorkloadAuthority(_Keys(), FixedClock, "vallum.local")
    try:
        found = authority.identify(der)
    except CertificateRefused:
        return
    # The handshake is what holds signatures; of what it lets through, an id of this domain is this authority's word.
    assert not authority.is_own(found[0]) or found == authority.identify(GOOD)


@given(st.text(max_size=60).map(lambda text: "spiffe://" + text))
def test_ids_are_parsed_or_refused(text):
    try:
        parsed = parse_spiffe_id(text)
    except Invalid:
        return
    assert parsed == text
    assert text.isascii()
    assert "//" not in text[9:]
    assert not {".", ".."} & set(text.split("/"))


# Services that are known by certificate.


@pytest.fixture
def create(identity, records):
    def _create(name="job", **changes):
        with records.write() as conn:
            return identity.services.create(conn, name, ["auditor"], **changes).service

    return _create


def test_a_service_is_who_its_certificate_says(identity, create, records, of_the_mesh, clock):
    job, meshed = create(spiffe_id="auto"), create("meshed", spiffe_id="spiffe://mesh.example/job")
    assert (job.method, job.spiffe_id) == ("tls_client_auth", OWN)
    services = identity.services
    own = der_of(services.authority.issue(job.id, OWN, request(), 3600))
    foreign = of_the_mesh("spiffe://mesh.example/job")
    assert services.check_certificate(own, job.id) == job
    assert services.check_certificate(foreign, meshed.id) == meshed
    for der, client in ((own, meshed.id), (foreign, job.id), (own, ""), (own, "svc_unknown"), (b"", job.id),
                        (of_the_mesh(OWN), job.id)):  # fmt: skip
        with pytest.raises(SignInRefused):
            services.check_certificate(der, client)
    for attempt in (lambda: services.check_secret(job.id, ""), lambda: services.check_assertion("a.b.c", ())):
        with pytest.raises(SignInRefused):
            attempt()
    with records.write() as conn:
        services.disable(conn, job.id)
    with pytest.raises(SignInRefused):
        services.check_certificate(own, job.id)


def test_certificates_are_withdrawn(identity, create, records, clock):
    job, services = create(spiffe_id="auto"), identity.services
    lost = der_of(services.authority.issue(job.id, OWN, request(), 7 * 86_400))
    clock.pass_(60)
    with records.write() as conn:
        services.refuse_certificates(conn, job.id)
    with pytest.raises(SignInRefused, match="withdrawn"):
        services.check_certificate(lost, job.id)
    clock.pass_(1)
    assert services.check_certificate(der_of(services.authority.issue(job.id, OWN, request(), 3600)), job.id) == job
    plain = create("plain")
    for unknown in (plain.id, "svc_unknown"):
        with pytest.raises(NotFound), records.write() as conn:
            services.refuse_certificates(conn, unknown)


def test_a_meshs_certificates_are_withdrawn_by_when_they_begin(identity, create, records, of_the_mesh, clock):
    """No minutes are added to what a mesh says: only this authority is known to date back."""
    meshed = create("meshed", spiffe_id="spiffe://mesh.example/job")
    clock.pass_(3700)
    with records.write() as conn:
        identity.services.refuse_certificates(conn, meshed.id)
    clock.pass_(3500)
    with pytest.raises(SignInRefused, match="withdrawn"):
        identity.services.check_certificate(of_the_mesh("spiffe://mesh.example/job"), meshed.id)
    clock.pass_(200)
    assert identity.services.check_certificate(of_the_mesh("spiffe://mesh.example/job"), meshed.id) == meshed


def test_a_renewal_that_a_withdrawal_overtook_is_refused(identity, create, records, clock):
    job, services = create(spiffe_id="auto"), identity.services
    at_hand = der_of(services.authority.issue(job.id, OWN, request(), 3600))
    services.check_certificate(at_hand, job.id)  # the renewal begins
    clock.pass_(1)
    with records.write() as conn:
        services.refuse_certificates(conn, job.id)
    clock.pass_(1)
    with pytest.raises(SignInRefused), records.write() as conn:  # and would end after it
        services.confirm_certificate(conn, job, at_hand)


def test_ids_that_nobody_may_register(create):
    create(spiffe_id="auto")
    create("meshed", spiffe_id="spiffe://mesh.example/job")
    with pytest.raises(NameTaken):
        create("another", spiffe_id="spiffe://mesh.example/job")
    for wrong in (OWN, "spiffe://vallum.local/service/root", "https://mesh.example/a", "", "spiffe://mesh.example"):
        with pytest.raises(Invalid):
            create("wrong", spiffe_id=wrong)
    with pytest.raises(Invalid, match="one way"):
        create("both", spiffe_id="auto", jwks={"keys": []})
    assert create("ops@site", spiffe_id="auto").spiffe_id == "spiffe://vallum.local/service/ops_at_site"
