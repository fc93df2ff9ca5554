"""Where notices go: a webhook, signed by the Standard Webhooks specification, and mail by SMTP."""

import base64
import hmac
import logging
import smtplib
import ssl
from collections.abc import Sequence
from datetime import timedelta
from email.message import EmailMessage
from email.utils import make_msgid
from hashlib import sha256
from pathlib import Path

import msgspec

from vallum.kernel.clock import Clock
from vallum.kernel.errors import Invalid, Unavailable
from vallum.monitor import Channel, Notice, NoticeRefused
from vallum.settings import NoticeSettings

__all__ = ["Mail", "Webhook", "open_channels"]

_SECONDS = 10
_THIS_ONE = (400, 413, 415, 422)  # what a receiver says of one notice; other statuses are about all of them
_log = logging.getLogger("vallum.notices")


class Webhook:
    """POSTs each notice as JSON. Any 2xx takes it; redirects are not followed.

    `webhook-id`, `webhook-timestamp` and `webhook-signature` (v1, HMAC-SHA-256) are those of Standard Webhooks, by
    which a receiver knows who sent it, that it is of now, and whether it came before.
    """

    name = "webhook"

    def __init__(self, url: str, secret: bytes, clock: Clock, ca_pem: bytes | None = None) -> None:
        from pyreqwest.client import SyncClientBuilder

        self._url = url
        self._secret = secret
        self._clock = clock
        builder = SyncClientBuilder().user_agent("vallum-notices").timeout(timedelta(seconds=_SECONDS))
        if ca_pem is not None:
            builder = builder.add_root_certificate_pem(ca_pem)
        self._client = builder.follow_redirects(False).no_proxy().build()

    def deliver(self, notice: Notice) -> None:
        from pyreqwest.exceptions import PyreqwestError

        body = msgspec.json.encode({"type": notice.action, "timestamp": notice.time, "data": notice})
        at = str(int(self._clock.now().timestamp()))
        signed = hmac.new(self._secret, f"{notice.id}.{at}.".encode() + body, sha256).digest()
        headers = {
            "content-type": "application/json",
            "webhook-id": notice.id,
            "webhook-timestamp": at,
            "webhook-signature": "v1," + base64.b64encode(signed).decode(),
        }
        try:
            with self._client.post(self._url).headers(headers).body_bytes(body).build_streamed() as response:
                status = response.status
        except (PyreqwestError, ValueError) as e:
            raise Unavailable("the webhook does not answer") from e
        if status in _THIS_ONE:
            raise NoticeRefused(f"the webhook answered with status {status}")
        if not 200 <= status < 300:
            raise Unavailable(f"the webhook answered with status {status}")


class Mail:
    """One message a notice, over STARTTLS or TLS, to everybody named."""

    name = "mail"

    def __init__(self, settings: NoticeSettings, password: str | None, context: ssl.SSLContext) -> None:
        self._settings = settings
        self._password = password
        self._context = context

    def deliver(self, notice: Notice) -> None:
        settings = self._settings
        message = EmailMessage()
        message["From"] = settings.mail_from
        message["To"] = ", ".join(settings.recipients())
        message["Subject"] = f"Vallum: {notice.what}"
        message["Message-ID"] = make_msgid(notice.id, "vallum.invalid")
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        message.set_content(notice.text)
        try:
            with self._connect() as smtp:
                if settings.smtp_user:
                    smtp.login(settings.smtp_user, self._password or "")
                refused = smtp.send_message(message)
        except smtplib.SMTPDataError as e:
            if e.smtp_code >= 500:
                raise NoticeRefused(f"the mail server answered with status {e.smtp_code}") from e
            raise Unavailable(f"the mail server answered with status {e.smtp_code}") from e
        except (OSError, smtplib.SMTPException, UnicodeError) as e:
            raise Unavailable(f"the mail server did not take the message ({type(e).__name__})") from e
        if refused:  # the others have it, and would have it again and again
            _log.error("the mail server refused %d of the recipients in notices.mail_to", len(refused))

    def _connect(self) -> smtplib.SMTP:
        host, port = self._settings.smtp_host, self._settings.smtp_port
        if self._settings.smtp_tls == "implicit":
            return smtplib.SMTP_SSL(host, port, timeout=_SECONDS, context=self._context)
        smtp = smtplib.SMTP(host, port, timeout=_SECONDS)
        try:
            smtp.starttls(context=self._context)  # raises where the server has none: nothing goes in the clear
        except (OSError, smtplib.SMTPException):
            smtp.close()
            raise
        return smtp


def open_channels(settings: NoticeSettings, clock: Clock) -> Sequence[Channel]:
    """Those that are set. Raises Invalid for a file that cannot be read."""
    channels: list[Channel] = []
    ca_file = settings.ca_file
    if settings.webhook_url:
        ca_pem = _read(ca_file, "notices.ca_file") if ca_file else None
        _context(ca_file)
        channels.append(Webhook(settings.webhook_url, _secret(settings.webhook_secret_file), clock, ca_pem))
    if settings.smtp_host:
        password = None
        if settings.smtp_user:
            password = _line(_read(settings.smtp_password_file, "notices.smtp_password_file"))
        channels.append(Mail(settings, password, _context(ca_file)))
    return channels


def _context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as e:
        raise Invalid("notices.ca_file is no certificate in PEM, or cannot be read") from e


def _secret(file: str) -> bytes:
    """As Standard Webhooks writes it: whsec_ and base64, of 24 to 64 bytes."""
    text = _line(_read(file, "notices.webhook_secret_file"))
    try:
        secret = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError as e:
        raise Invalid("notices.webhook_secret_file: write whsec_ and 24 to 64 random bytes in base64") from e
    if not 24 <= len(secret) <= 64:
        raise Invalid("notices.webhook_secret_file: write whsec_ and 24 to 64 random bytes in base64")
    return secret


def _line(raw: bytes) -> str:
    return raw.decode("utf-8", "replace").partition("\n")[0].strip()


def _read(file: str, setting: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as e:
        raise Invalid(f"{setting} cannot be read") from e
