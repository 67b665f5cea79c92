"""Campaigns: what bad mail carries, and by which indicator the world will learn of it.

Host names end in random digits under real top-level domains: believable, and nobody's.
"""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import idna

from local_tenant.synthetic.attachments import Attachment, archive, docx, page, pdf
from local_tenant.synthetic.composing import Party
from local_tenant.synthetic.verdict import Verdict
from local_tenant.synthetic.wrapped_links import safelinks, urldefense_v2, urldefense_v3


class Feed(StrEnum):
    """The sources that will list indicators."""

    URLS = "urls"
    DOMAINS = "domains"
    TABLE = "table"
    BUNDLE = "bundle"


FEED_VERDICTS = {
    Feed.URLS: Verdict.MALICIOUS,
    Feed.DOMAINS: Verdict.SUSPICIOUS,
    Feed.TABLE: Verdict.SPAM,
    Feed.BUNDLE: Verdict.MALICIOUS,
}
"""What being listed in a source makes of a message."""


class IndicatorType(StrEnum):
    URL = "url"
    DOMAIN = "domain"
    EMAIL_ADDRESS = "email_address"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True)
class Indicator:
    """One entry of a feed, before anybody spells it in an odd way."""

    feed: Feed
    type: IndicatorType
    value: str
    campaign: str = ""


class Wrapping(StrEnum):
    """Who rewrote the link on the way."""

    NOBODY = ""
    SAFELINKS = "safelinks"
    URLDEFENSE_V2 = "urldefense_v2"
    URLDEFENSE_V3 = "urldefense_v3"


@dataclass(frozen=True, slots=True)
class Campaign:
    """One wave of bad mail."""

    name: str
    kind: str
    lure: str
    """Which of the `Phrases` it uses."""
    sender: Party
    link: str = ""
    """``{victim}`` in it becomes something of the reader's own."""
    wrapping: Wrapping = Wrapping.NOBODY
    attachment: Attachment | None = None
    indicators: tuple[Indicator, ...] = ()
    """Empty when the world never learns of it."""

    @property
    def verdict(self) -> Verdict:
        """What its messages are once the feeds list it."""
        return Verdict.gravest(FEED_VERDICTS[indicator.feed] for indicator in self.indicators)

    @property
    def is_personal(self) -> bool:
        return "{victim}" in self.link

    def link_for(self, address: str, rng: random.Random) -> str:
        """The URL in the message to this reader."""
        if not self.link:
            return ""
        victim = base64.urlsafe_b64encode(address.encode()).decode().rstrip("=").lower()
        url = self.link.replace("{victim}", victim[:24])
        match self.wrapping:
            case Wrapping.SAFELINKS:
                return safelinks(url, address, rng)
            case Wrapping.URLDEFENSE_V2:
                return urldefense_v2(url, rng)
            case Wrapping.URLDEFENSE_V3:
                return urldefense_v3(url, rng)
        return url


SHORTENERS = ("t.co", "bit.ly", "tinyurl.com")
FREE_HOSTS = ("netlify.app", "web.app", "pages.dev", "github.io", "blogspot.com")
"""Anybody's page can live under these; they are public suffixes of the private kind."""

_LURES = ("account_lure", "parcel_lure", "document_lure")
_BAIT = ("login", "secure", "verify", "portal", "webmail", "paket", "colis", "sso", "dokument")
_BRANDS = ("nordpost", "kurierdienst", "officeportal", "rnailbox", "parcei", "cloudsign")
_TOP_LEVEL = ("com", "net", "info", "top", "xyz", "online", "shop")
_SHOPS = ("floristik", "boulangerie", "taller", "piekarnia", "woodwork", "yogastudio", "autohaus")

Maker = Callable[[random.Random, Campaign], Campaign]


def make_campaign(kind: str, rng: random.Random) -> Campaign:
    """A new campaign of one of the `CAMPAIGN_KINDS`."""
    host = bad_host(rng)
    sender = Party(
        rng.choice(("Service Desk", "IT-Support", "Paketzentrum", "HR", "Document Center")),
        f"{rng.choice(('no-reply', 'notification', 'service', 'info'))}@{host}",
    )
    blank = Campaign(f"{kind}-{rng.getrandbits(20):05x}", kind, rng.choice(_LURES), sender)
    return CAMPAIGN_KINDS[kind](rng, blank)


def bad_host(rng: random.Random) -> str:
    """A look-alike nobody has registered, so far as chance allows."""
    return (
        f"{rng.choice(_BRANDS)}-{rng.choice(_BAIT)}-{rng.randrange(10_000, 99_999)}"
        f".{rng.choice(_TOP_LEVEL)}"
    )


def shop_host(rng: random.Random) -> str:
    """A small business with a web site worth breaking into."""
    return f"{rng.choice(_SHOPS)}-{rng.randrange(10_000, 99_999)}.{rng.choice(('de', 'fr', 'com'))}"


def short_code(rng: random.Random) -> str:
    """A shortener's path, with letters of both cases: they are not the same."""
    return (
        rng.choice(string.ascii_lowercase)
        + rng.choice(string.ascii_uppercase)
        + "".join(rng.choices(string.ascii_letters + string.digits, k=8))
    )


def _listed(campaign: Campaign, feed: Feed, type_: IndicatorType, value: str) -> Campaign:
    indicator = Indicator(feed, type_, value, campaign.name)
    return replace(campaign, indicators=(*campaign.indicators, indicator))


def _url(rng: random.Random, campaign: Campaign, url: str) -> Campaign:
    feed = rng.choice((Feed.URLS, Feed.URLS, Feed.BUNDLE))
    return _listed(campaign, feed, IndicatorType.URL, url)


def _shortener(rng: random.Random, campaign: Campaign) -> Campaign:
    url = f"https://{rng.choice(SHORTENERS)}/{short_code(rng)}"
    return _url(rng, replace(campaign, link=url), url)


def _wrapped(rng: random.Random, campaign: Campaign) -> Campaign:
    url = f"https://{bad_host(rng)}/{rng.choice(_BAIT)}/index.php"
    wrapping = rng.choice((Wrapping.SAFELINKS, Wrapping.URLDEFENSE_V2, Wrapping.URLDEFENSE_V3))
    return _url(rng, replace(campaign, link=url, wrapping=wrapping), url)


def _wrapped_shortener(rng: random.Random, campaign: Campaign) -> Campaign:
    url = f"https://{rng.choice(SHORTENERS)}/{short_code(rng)}"
    wrapping = rng.choice((Wrapping.SAFELINKS, Wrapping.URLDEFENSE_V3))
    return _url(rng, replace(campaign, link=url, wrapping=wrapping), url)


def _lookalike(rng: random.Random, campaign: Campaign) -> Campaign:
    host = bad_host(rng)
    link = f"https://{rng.choice(('www', 'login', 'm'))}.{host}/{rng.choice(_BAIT)}?id={{victim}}"
    return _listed(replace(campaign, link=link), Feed.DOMAINS, IndicatorType.DOMAIN, host)


def _internationalised(rng: random.Random, campaign: Campaign) -> Campaign:
    host = f"nörth-{rng.choice(_BAIT)}-{rng.randrange(10_000, 99_999)}.com"
    listed = idna.encode(host).decode()
    return _listed(
        replace(campaign, link=f"https://{host}/sso/"), Feed.BUNDLE, IndicatorType.DOMAIN, listed
    )


def _free_host_url(rng: random.Random, campaign: Campaign) -> Campaign:
    url = f"https://acct-{rng.getrandbits(32):08x}.{rng.choice(FREE_HOSTS)}/login.html"
    return _url(rng, replace(campaign, link=url), url)


def _free_host_domain(rng: random.Random, campaign: Campaign) -> Campaign:
    host = f"acct-{rng.getrandbits(32):08x}.{rng.choice(FREE_HOSTS)}"
    return _listed(
        replace(campaign, link=f"https://{host}/?u={{victim}}"),
        Feed.DOMAINS,
        IndicatorType.DOMAIN,
        host,
    )


def _form(rng: random.Random, campaign: Campaign) -> Campaign:
    url = f"https://docs.google.com/forms/d/e/1FAIpQL{short_code(rng)}{short_code(rng)}/viewform"
    return _url(rng, replace(campaign, link=url), url)


def _compromised(rng: random.Random, campaign: Campaign) -> Campaign:
    """A credential form on a broken-in site; the query carries the victim, the listing none."""
    url = f"https://{shop_host(rng)}/wp-content/uploads/{rng.choice(_BAIT)}/verify.php"
    return _url(rng, replace(campaign, link=url + "?e={victim}"), url)


def _compromised_folder(rng: random.Random, campaign: Campaign) -> Campaign:
    """The listing names the folder the kit was unpacked in."""
    folder = f"https://{shop_host(rng)}/wp-includes/{rng.choice(_BAIT)}{rng.randrange(100)}/"
    return _url(rng, replace(campaign, link=folder + "step1.php?k={victim}"), folder)


def _host_per_victim(rng: random.Random, campaign: Campaign) -> Campaign:
    """Every victim has a sub-domain; the listing names the page below the parent."""
    host = bad_host(rng)
    link = f"https://u{rng.getrandbits(24):06x}.{host}/{rng.choice(_BAIT)}"
    return _url(rng, replace(campaign, link=link), link.replace(link.split("/")[2], host))


def _user_info(rng: random.Random, campaign: Campaign) -> Campaign:
    """``https://north.example@bad-host/…``: what stands before the @ is for the reader only."""
    tail = f"{bad_host(rng)}/auth/{rng.getrandbits(24):06x}"
    link = f"https://north.example@{tail}"
    return _url(rng, replace(campaign, link=link), f"https://{tail}")


def _bare_host(rng: random.Random, campaign: Campaign) -> Campaign:
    """The listing is the front page, and so is the link, without its slash."""
    link = f"http://{bad_host(rng)}"
    return _url(rng, replace(campaign, link=link), link + "/")


def _attachment(rng: random.Random, campaign: Campaign) -> Campaign:
    number = rng.randrange(10_000, 99_999)
    words = f"Scan to confirm your identity, reference {number}-{rng.getrandbits(32):08x}"
    file = rng.choice(
        (
            pdf(f"Invoice_{number}.pdf", words),
            docx(f"Salary_{number}.docx", words),
            archive(f"documents_{number}.zip", "read_me.txt", words),
            page(f"Secure_Message_{number}.html", f"<form><p>{words}</p><input></form>"),
        )
    )
    return _listed(
        replace(campaign, lure="invoice_lure", attachment=file),
        Feed.BUNDLE,
        IndicatorType.SHA256,
        file.sha256,
    )


def _impostor(rng: random.Random, campaign: Campaign) -> Campaign:
    """No link, no file: only an address that will be listed."""
    mailbox, service = rng.sample(range(10_000, 99_999), 2)
    address = f"ceo.office.{mailbox}@freemail-{service}.com"
    return _listed(
        replace(campaign, sender=Party("Managing Director", address), lure="document_lure"),
        Feed.BUNDLE,
        IndicatorType.EMAIL_ADDRESS,
        address,
    )


def _twice_listed(rng: random.Random, campaign: Campaign) -> Campaign:
    """First taken for spam, then for worse: the graver listing counts."""
    url = f"https://{bad_host(rng)}/offer/{rng.getrandbits(24):06x}"
    spam = _listed(replace(campaign, link=url, lure="spam"), Feed.TABLE, IndicatorType.URL, url)
    return _listed(spam, Feed.URLS, IndicatorType.URL, url)


def _spam(rng: random.Random, campaign: Campaign) -> Campaign:
    host = bad_host(rng)
    url = f"https://{host}/bonus/{rng.getrandbits(24):06x}"
    by_domain = rng.random() < 0.5
    return _listed(
        replace(campaign, link=url, lure="spam"),
        Feed.TABLE,
        IndicatorType.DOMAIN if by_domain else IndicatorType.URL,
        host if by_domain else url,
    )


def _unlisted(rng: random.Random, campaign: Campaign) -> Campaign:
    return replace(campaign, link=f"https://{bad_host(rng)}/{rng.choice(_BAIT)}")


CAMPAIGN_KINDS: dict[str, Maker] = {
    "phish_shortener": _shortener,
    "phish_wrapped": _wrapped,
    "phish_wrapped_shortener": _wrapped_shortener,
    "phish_lookalike": _lookalike,
    "phish_internationalised": _internationalised,
    "phish_free_host_url": _free_host_url,
    "phish_free_host_domain": _free_host_domain,
    "phish_form": _form,
    "phish_compromised": _compromised,
    "phish_compromised_folder": _compromised_folder,
    "phish_host_per_victim": _host_per_victim,
    "phish_user_info": _user_info,
    "phish_bare_host": _bare_host,
    "phish_attachment": _attachment,
    "phish_impostor": _impostor,
    "phish_twice_listed": _twice_listed,
    "spam_campaign": _spam,
    "phish_unlisted": _unlisted,
}
