"""The headers a receiving service puts on top of what the sender sent.

Forms as Microsoft 365 and Gmail write them; they carry the verdict given at delivery.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

from local_tenant.delivery import Placement
from local_tenant.synthetic.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Transit:
    """How a message came in."""

    envelope_sender: str
    sending_ip: str
    sending_host: str
    recipient: str
    """Where it was addressed to first."""
    received_at: datetime
    language: str
    internal: bool = False
    """Sent by a colleague of the same service: no outside check applies."""

    @property
    def domain(self) -> str:
        return self.envelope_sender.rpartition("@")[2]


# CAT, SCL, SFV and BCL of Microsoft 365 for what it thought of a message.
_MICROSOFT = {
    Verdict.NONE: ("NONE", 1, "NSPM", 0),
    Verdict.BULK: ("BULK", 6, "SPM", 7),
    Verdict.SPAM: ("SPM", 5, "SPM", 1),
    Verdict.SPOOF: ("SPOOF", 5, "SPM", 0),
    Verdict.MALICIOUS: ("HPHISH", 8, "SPM", 0),
}


def microsoft(transit: Transit, verdict: Verdict, rng: random.Random) -> bytes:
    """Header lines of Exchange Online Protection. The verdict is one it has a category for."""
    category, scl, filtered, bcl = _MICROSOFT[verdict]
    site = rng.choice(("AM0PR", "DB9PR", "FR2P28", "PA4PR")) + f"{rng.randrange(10, 99)}MB"
    box = f"{site}{rng.randrange(1000, 9999)}.eurprd{rng.randrange(1, 12):02d}.prod.outlook.com"
    edge = f"{site}{rng.randrange(1000, 9999)}.mail.protection.outlook.com"
    stamp = format_datetime(transit.received_at)
    if transit.internal:
        scl, filtered = -1, "SKI"
        results = "dkim=none (message not signed) header.d=none;dmarc=none action=none"
        results += f" header.from={transit.domain};"
    elif verdict is Verdict.SPOOF:
        results = (
            f"spf=fail (sender IP is {transit.sending_ip}) smtp.mailfrom={transit.domain};"
            " dkim=none (message not signed) header.d=none;dmarc=fail action=quarantine"
            f" header.from={transit.domain};compauth=fail reason=000"
        )
    else:
        results = (
            f"spf=pass (sender IP is {transit.sending_ip}) smtp.mailfrom={transit.domain};"
            f" dkim=pass (signature was verified) header.d={transit.domain};dmarc=pass action=none"
            f" header.from={transit.domain};compauth=pass reason=100"
        )
    spf = "Fail" if verdict is Verdict.SPOOF else "Pass"
    lines = [
        f"Received: from {edge} (2603:10a6:20b:{rng.getrandbits(16):x}::{rng.getrandbits(16):x})"
        f" by {box}\r\n with HTTPS; {stamp}",
    ]
    if not transit.internal:
        lines += [
            f"Received: from {transit.sending_host} ({transit.sending_ip}) by {edge}"
            f"\r\n (10.167.{rng.randrange(256)}.{rng.randrange(256)}) with Microsoft SMTP Server"
            f" (version=TLS1_3,\r\n cipher=TLS_AES_256_GCM_SHA384); {stamp}",
            f"Received-SPF: {spf} (protection.outlook.com: domain of {transit.domain}"
            f"\r\n {'does not designate' if spf == 'Fail' else 'designates'}"
            f" {transit.sending_ip} as permitted sender)",
        ]
    lines += [
        f"Authentication-Results: {results}",
        f"Return-Path: {transit.envelope_sender}",
        f"X-MS-Exchange-Organization-Network-Message-Id: {_guid(rng)}",
        f"X-MS-Exchange-Organization-AuthAs: {'Internal' if transit.internal else 'Anonymous'}",
        f"X-MS-Exchange-Organization-SCL: {scl}",
        f"X-Forefront-Antispam-Report: CIP:{transit.sending_ip};CTRY:;LANG:{transit.language};"
        f"SCL:{scl};SRV:;IPV:NLI;SFV:{filtered};H:{transit.sending_host};"
        f"PTR:{transit.sending_host};CAT:{category};SFS:(13230040)({rng.randrange(10**8)});"
        f"DIR:{'INT' if transit.internal else 'INB'};",
        f"X-Microsoft-Antispam: BCL:{bcl};",
    ]
    return _joined(lines)


def google(transit: Transit, verdict: Verdict, rng: random.Random) -> bytes:
    """Header lines of Gmail. Of its verdicts only a failed DMARC shows in them."""
    pacific = transit.received_at.astimezone(timezone(timedelta(hours=-8)))
    stamp = format_datetime(pacific) + " (PST)"
    lines = [
        f"Delivered-To: {transit.recipient}",
        f"Received: by 2002:a05:{rng.getrandbits(16):x}:{rng.getrandbits(12):x}:b0:"
        f"{rng.getrandbits(12):x}:{rng.getrandbits(16):x} with SMTP id {_word(rng, 17)};"
        f"\r\n        {stamp}",
        f"Return-Path: <{transit.envelope_sender}>",
    ]
    if not transit.internal:
        failed = verdict is Verdict.SPOOF
        spf = "fail" if failed else "pass"
        dkim = (
            "dkim=none"
            if failed
            else f"dkim=pass header.i=@{transit.domain} header.s=s1 header.b={_word(rng, 8)}"
        )
        designates = "does not designate" if failed else "designates"
        lines += [
            f"Received: from {transit.sending_host} ({transit.sending_host}."
            f" [{transit.sending_ip}])\r\n        by mx.google.com with ESMTPS id"
            f" {_word(rng, 24)}\r\n        for <{transit.recipient}>;\r\n        {stamp}",
            f"Received-SPF: {spf} (google.com: domain of {transit.envelope_sender} {designates}"
            f" {transit.sending_ip} as permitted sender) client-ip={transit.sending_ip};",
            f"Authentication-Results: mx.google.com;\r\n       {dkim};"
            f"\r\n       spf={spf} (google.com: domain of {transit.envelope_sender} {designates}"
            f" {transit.sending_ip} as permitted sender) smtp.mailfrom={transit.envelope_sender};"
            f"\r\n       dmarc={spf} (p=QUARANTINE sp=QUARANTINE dis=NONE)"
            f" header.from={transit.domain}",
        ]
    return _joined(lines)


def google_verdict(verdict: Verdict) -> tuple[Verdict, Placement]:
    """What Gmail makes of a message Microsoft would judge so: what it says, where it puts it."""
    if verdict is Verdict.SPOOF:
        return Verdict.SPOOF, Placement.INBOX
    if verdict in (Verdict.SPAM, Verdict.MALICIOUS):
        return Verdict.SPAM, Placement.JUNK
    return Verdict.NONE, Placement.INBOX


def _joined(lines: list[str]) -> bytes:
    return "".join(line + "\r\n" for line in lines).encode("ascii")


def _guid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def _word(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=length))
