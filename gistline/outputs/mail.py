"""E-mail by SMTP. ``Message-ID`` is made of the delivery's id, so that a mail that was sent twice is known as one."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from typing import Final
from urllib.parse import unquote, urlsplit

from gistline.outputs.delivery import NotDelivered, Parcel
from gistline.settings_acting import AlarmSettings

PORTS: Final = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
PERMANENT: Final = 500
"""SMTP's replies from here on mean that the same mail would be refused again."""


def send_mail(parcel: Parcel, settings: AlarmSettings) -> None:
    """Hand it to the mail server.

    Raises:
        NotDelivered: the server did not take it, for at least one recipient.

    """
    to = parcel.target or settings.smtp_to
    recipients = [one.strip() for one in to.split(",") if one.strip()]
    if not (recipients and settings.smtp_from and settings.smtp_url.get_secret_value()):
        raise NotDelivered("alarms.smtp_url, alarms.smtp_from or alarms.smtp_to is empty.", final=True)
    mail = _mail(parcel, settings.smtp_from, recipients)
    try:
        with _connect(settings) as server:
            refused = server.send_message(mail, to_addrs=recipients)
    except smtplib.SMTPRecipientsRefused as error:
        raise _refused(error.recipients) from error
    except smtplib.SMTPResponseException as error:
        final = error.smtp_code >= PERMANENT and not isinstance(error, smtplib.SMTPConnectError)
        raise NotDelivered(f"the mail server answered {error.smtp_code}", final=final) from error
    except (smtplib.SMTPException, OSError) as error:
        raise NotDelivered(f"no answer of the mail server: {type(error).__name__}") from error
    if refused:
        raise _refused(refused)


def _mail(parcel: Parcel, sender: str, recipients: list[str]) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = " ".join(parcel.subject.split())
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Message-ID"] = f"<{parcel.id}@{sender.rpartition('@')[2] or 'gistline'}>"
    mail["Auto-Submitted"] = "auto-generated"
    for name, value in parcel.labels.items():
        mail[f"Gistline-{name.title()}"] = value
    mail.set_content(parcel.body)
    return mail


def _connect(settings: AlarmSettings) -> smtplib.SMTP:
    try:
        parts = urlsplit(settings.smtp_url.get_secret_value())
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError) as error:
        raise NotDelivered(f"alarms.smtp_url must begin with one of {', '.join(PORTS)}.", final=True) from error
    host, context = parts.hostname or "", ssl.create_default_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=settings.timeout_s, context=context)
    else:
        server = smtplib.SMTP(host, port, timeout=settings.timeout_s)
    if parts.scheme == "smtp+starttls":
        server.starttls(context=context)
    if parts.username:
        server.login(unquote(parts.username), unquote(parts.password or ""))
    return server


def _refused(recipients: dict[str, tuple[int, bytes]]) -> NotDelivered:
    final = all(code >= PERMANENT for code, _ in recipients.values())
    return NotDelivered(f"the mail server refused {', '.join(sorted(recipients))}", final=final)
