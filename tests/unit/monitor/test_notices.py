"""Notices: to a real web server and a real mail server, signed, over TLS, once, and again when they were not taken."""

import base64
import hmac
import json
import socket
import ssl
from datetime import UTC, datetime
from email import message_from_bytes, policy
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from vallum.kernel.clock import SystemClock
from vallum.kernel.errors import Invalid, Unavailable
from vallum.monitor import Notice, NoticeRefused, Notifier, notice_of
from vallum.serving.local_ca import ensure_server_certificate
from vallum.serving.notices import open_channels
from vallum.settings import InvalidSettings, load_settings

SECRET = b"0123456789abcdef0123456789abcdef"
NOTICE = Notice(
    "ent_1", "2026-05-04T12:00:00.000000Z", "access was asked for: somebody decides", "identity:grant:request",
    "person:per_1", "System:vallum", "https://vallum.example/console/access", {"grant": "grt_1"},
)  # fmt: skip


class Clock:
    @staticmethod
    def now():
        return datetime(2026, 5, 4, 12, tzinfo=UTC)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def receiver():
    """A web server that takes what is POSTed, or answers with the status that the test says."""
    taken, status = [], [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            taken.append((dict(self.headers), body))
            self.send_response(status[0])
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    server.taken, server.status, server.url = taken, status, f"http://127.0.0.1:{server.server_port}/hook"
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def webhook_settings(receiver, tmp_path):
    secret = tmp_path / "webhook"
    secret.write_text("whsec_" + base64.b64encode(SECRET).decode() + "\n")
    return {"notices.webhook_url": receiver.url, "notices.webhook_secret_file": str(secret)}


@pytest.fixture
def mail_server(tmp_path):
    """A mail server with STARTTLS and sign-in, on a certificate of its own."""
    certificate = ensure_server_certificate(tmp_path / "tls", ("127.0.0.1",), SystemClock())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    taken = []

    class Handler:
        async def handle_RCPT(self, server, session, envelope, address, options):
            if address.startswith("nobody"):
                return "550 no such user"
            envelope.rcpt_tos.append(address)
            return "250 OK"

        async def handle_DATA(self, server, session, envelope):
            taken.append((session.authenticated, envelope))
            return "250 taken"

    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data.password == b"the password", handled=True)

    controller = Controller(
        Handler(), hostname="127.0.0.1", port=free_port(), tls_context=context, require_starttls=True,
        auth_required=True, authenticator=authenticate,
    )  # fmt: skip
    controller.start()
    controller.taken, controller.ca_file = taken, str(certificate.ca_file)
    yield controller
    controller.stop()


@pytest.fixture
def mail_settings(mail_server, tmp_path):
    (tmp_path / "password").write_text("the password\n")
    return {
        "notices.smtp_host": mail_server.hostname, "notices.smtp_port": mail_server.port,
        "notices.smtp_user": "vallum", "notices.smtp_password_file": str(tmp_path / "password"),
        "notices.mail_from": "vallum@example.org", "notices.mail_to": "ben@example.org sam@example.org",
        "notices.ca_file": mail_server.ca_file,
    }  # fmt: skip


def channels(given):
    return open_channels(load_settings(None, {}, given).notices, Clock)


def test_a_webhook_is_signed_by_its_standard(webhook_settings, receiver):
    (webhook,) = channels(webhook_settings)
    webhook.deliver(NOTICE)
    ((headers, body),) = receiver.taken
    headers = {name.lower(): value for name, value in headers.items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(SECRET, signed, sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{wanted}"
    assert headers["webhook-id"] == "ent_1"
    assert int(headers["webhook-timestamp"]) == int(Clock.now().timestamp())
    said = json.loads(body)
    assert (said["type"], said["data"]["about"]) == ("identity:grant:request", {"grant": "grt_1"})


@pytest.mark.parametrize("status", [301, 302, 307, 400, 401, 404, 410, 429, 500, 503])
def test_what_is_not_taken_is_said_to_be_and_nobody_is_followed(webhook_settings, receiver, status):
    (webhook,) = channels(webhook_settings)
    receiver.status[0] = status
    with pytest.raises((Unavailable, NoticeRefused), match=str(status)) as refused:
        webhook.deliver(NOTICE)
    assert isinstance(refused.value, NoticeRefused) == (status == 400)
    assert len(receiver.taken) == 1


def test_mail_goes_over_tls_to_everybody(mail_settings, mail_server):
    (mail,) = channels(mail_settings)
    mail.deliver(NOTICE)
    ((authenticated, envelope),) = mail_server.taken
    assert authenticated
    assert envelope.rcpt_tos == ["ben@example.org", "sam@example.org"]
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert message["Subject"] == "Vallum: access was asked for: somebody decides"
    assert message["Auto-Submitted"] == "auto-generated"
    text = message.get_content()
    assert "https://vallum.example/console/access" in text
    assert "grant: grt_1" in text


def test_mail_that_is_not_taken(mail_settings, mail_server, tmp_path):
    without_ca = {name: value for name, value in mail_settings.items() if name != "notices.ca_file"}
    (mail,) = channels(without_ca)
    with pytest.raises(Unavailable):
        mail.deliver(NOTICE)  # a server that nobody vouches for learns no password
    (tmp_path / "password").write_text("another\n")
    (mail,) = channels(mail_settings)
    with pytest.raises(Unavailable) as refused:
        mail.deliver(NOTICE)
    assert "another" not in str(refused.value)
    (mail,) = channels({**mail_settings, "notices.smtp_port": free_port()})
    with pytest.raises(Unavailable):
        mail.deliver(NOTICE)
    assert mail_server.taken == []


def test_a_mail_server_without_tls_gets_nothing(mail_settings):
    class Handler:
        taken = []

        async def handle_DATA(self, server, session, envelope):
            self.taken.append(envelope)
            return "250 taken"

    plain = Controller(Handler(), hostname="127.0.0.1", port=free_port())
    plain.start()
    try:
        (mail,) = channels({**mail_settings, "notices.smtp_port": plain.port})
        with pytest.raises(Unavailable):
            mail.deliver(NOTICE)
    finally:
        plain.stop()
    assert Handler.taken == []


@pytest.mark.parametrize(
    "given",
    [
        {"notices.webhook_url": "http://example.org/hook", "notices.webhook_secret_file": "x"},
        {"notices.webhook_url": "ftp://127.0.0.1/hook", "notices.webhook_secret_file": "x"},
        {"notices.webhook_url": "https://example.org/hook"},
        *(
            {"notices.webhook_url": url, "notices.webhook_secret_file": "x"}
            for url in ("https://", "https://x:99999/", "https://exa mple/x", "https://[::1", "https://ex\u00e4mple/")
        ),
        {"notices.smtp_host": "m", "notices.mail_from": "a@b", "notices.mail_to": "c@[d"},
        {"notices.smtp_host": "mail.example.org"},
        {"notices.smtp_host": "m", "notices.mail_from": "a@b", "notices.mail_to": "no address"},
        {"notices.smtp_host": "m", "notices.mail_from": "a@b", "notices.mail_to": "c@d", "notices.smtp_user": "u"},
        {"notices.smtp_host": "m", "notices.mail_from": "a@b\nBcc: x@y", "notices.mail_to": "c@d"},
    ],
)
def test_settings_that_do_not_fit(given):
    with pytest.raises(InvalidSettings, match="notices"):
        load_settings(None, {}, given)


def test_files_that_do_not_do(tmp_path):
    secret = tmp_path / "secret"
    given = {"notices.webhook_url": "https://example.org/hook", "notices.webhook_secret_file": str(secret)}
    with pytest.raises(Invalid, match="cannot be read"):
        channels(given)
    for bad in ("", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_" + base64.b64encode(b"x" * 65).decode()):
        secret.write_text(bad)
        with pytest.raises(Invalid, match="whsec_"):
            channels(given)


# From the ledger.


class Recorder:
    name = "recorder"

    def __init__(self):
        self.taken, self.fails = [], 0

    def deliver(self, notice):
        if self.fails:
            self.fails -= 1
            raise Unavailable("not now")
        self.taken.append(notice)


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def notifier(platform, recorder):
    opened = Notifier(recorder, platform.records, platform.ledger, "https://vallum.example")
    opened.poll()
    return opened


def asked(record, **changes):
    return record(
        kind="change", action="identity:grant:request", context={"role": "security", "basis": "{}"}, **changes
    )


def test_what_somebody_should_hear_of(notifier, recorder, record):
    first = asked(record)
    record(kind="change", action="identity:key:issue")
    record(kind="decision", action="identity:grant:approve")
    asked(record, outcome="denied", effect="deny")
    asked(record, outcome="error")
    alert = record(
        kind="alert", subject="system:vallum", action="monitor:alert:raise", context={"about": "person:per_1"}
    )
    incident = record(kind="incident", action="respond:incident:open")
    assert notifier.poll() == 3
    assert [notice.id for notice in recorder.taken] == [first, alert, incident]
    assert recorder.taken[0].about == {"role": "security"}
    assert recorder.taken[1].url == "https://vallum.example/console/alerts"
    assert notifier.poll() == 0


def test_what_was_not_taken_comes_again_and_nothing_else_does(platform, notifier, recorder, record):
    ids = [asked(record) for _ in range(3)]
    recorder.fails = 1
    with pytest.raises(Unavailable):
        notifier.poll()
    assert recorder.taken == []
    assert notifier.poll() == 0  # left alone for a while
    waited(notifier)
    assert notifier.poll() == 3
    more = [asked(record) for _ in range(3)]
    deliver = recorder.deliver

    def third_fails(notice):
        if notice.id == more[2] and not recorder.fails:
            recorder.fails = 2
        deliver(notice)

    recorder.deliver = third_fails
    with pytest.raises(Unavailable):
        notifier.poll()
    recorder.fails, recorder.deliver = 0, deliver
    again = Notifier(recorder, platform.records, platform.ledger, "https://vallum.example")  # after a restart
    assert again.poll() == 1
    assert [notice.id for notice in recorder.taken] == [*ids, *more]


def waited(notifier):
    notifier._not_before = 0.0


def test_a_notice_that_its_receiver_will_not_have_holds_the_others_up_for_a_while(notifier, recorder, record):
    poison, other = asked(record), asked(record)
    deliver = recorder.deliver

    def refuse(notice):
        if notice.id == poison:
            raise NoticeRefused("too large")
        deliver(notice)

    recorder.deliver = refuse
    for _ in range(4):
        with pytest.raises(Unavailable, match="too large"):
            notifier.poll()
        waited(notifier)
    assert notifier.poll() == 2
    assert [notice.id for notice in recorder.taken] == [other]


def test_mail_to_some_is_not_sent_to_them_again(mail_settings, mail_server):
    (mail,) = channels({**mail_settings, "notices.mail_to": "ben@example.org nobody@example.org"})
    mail.deliver(NOTICE)
    ((_, envelope),) = mail_server.taken
    assert envelope.rcpt_tos == ["ben@example.org"]
    (mail,) = channels({**mail_settings, "notices.mail_to": "nobody@example.org"})
    with pytest.raises(Unavailable):
        mail.deliver(NOTICE)


def test_a_notice_says_nothing_that_its_entry_does_not(platform, record):
    entry_id = asked(record, reason="", contents={"reason": b"the secret reason"})
    with platform.records.read() as conn:
        notice = notice_of(platform.ledger.entry(conn, entry_id), "https://vallum.example")
    assert "secret reason" not in notice.text
