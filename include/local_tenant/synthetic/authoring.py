"""Writes synthetic messages, good and bad, and notes down what each one is.

Every kind of message is one method of `Author`; `KINDS` names them with their share.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from local_tenant.delivery import Placement, moment_before
from local_tenant.people import GOOGLE_DOMAIN, MICROSOFT_DOMAIN, Person
from local_tenant.synthetic.attachments import archive, docx, logo, page, pdf
from local_tenant.synthetic.campaigns import (
    CAMPAIGN_KINDS,
    FREE_HOSTS,
    SHORTENERS,
    Campaign,
    bad_host,
    short_code,
)
from local_tenant.synthetic.composing import Draft, Party, web_page
from local_tenant.synthetic.outbox import Outbox
from local_tenant.synthetic.phrases import PHRASES, Phrases, Text
from local_tenant.synthetic.verdict import Verdict
from local_tenant.synthetic.world import World
from local_tenant.synthetic.wrapped_links import safelinks, urldefense_v2, urldefense_v3

_PAPERS = {
    "en": ("The Morning Letter", "morningletter.example"),
    "de": ("Gartenbrief", "gartenbrief.example"),
    "fr": ("La lettre", "lalettre.example"),
    "es": ("El boletín", "elboletin.example"),
    "pl": ("Biuletyn", "biuletyn.example"),
    "ja": ("週刊読書", "shukan.example"),
    "pt": ("A carta", "acarta.example"),
}
_SHOPS = ("Papierhaus", "Bike & Co", "Librairie du Port", "Teegarten", "Taller Sol")
_COMPANIES = ("Hansen Logistik", "Okafor Ltd", "Moreau & Fils", "Grupo Ibáñez", "Sato Industries")


class Author:
    """Writes messages into ``outbox``."""

    def __init__(
        self, world: World, rng: random.Random, *, name: str, now: datetime, spread: bool
    ) -> None:
        """``name`` begins every delivery id. ``spread`` over the period before now, else now."""
        self.outbox = Outbox(rng, name)
        self._world = world
        self._rng = rng
        self._now = now.replace(microsecond=0)
        self._spread = spread

    def write(self, kind: str) -> None:
        """One message of the kind; several for a thread or a personal campaign."""
        KINDS[kind].write(self, kind)

    # ---- colleagues ------------------------------------------------------------------

    def thread(self, kind: str) -> None:
        """A conversation, answered with In-Reply-To and References."""
        rng = self._rng
        party = self._people(3, 4)
        phrases = PHRASES[party[0].language]
        story = rng.choice(phrases.threads)
        facts = self._facts(party[1], party[0])
        opening = _filled(story.opening, facts)
        subject, text = opening.subject, self._letter(phrases, opening, party[1], party[0])
        sent_at = self._moment()
        references: list[str] = []
        replies = story.replies[: rng.randint(1, len(story.replies))]
        for number, words in enumerate(["", *replies]):
            writer = party[number % len(party)]
            readers = [person for person in party if person is not writer]
            if number:
                quoted = "".join(f"> {line}\n" for line in text.splitlines())
                text = f"{words.format(**facts)}\n\n{writer.given_name}\n\n{quoted}"
                subject = phrases.reply_prefix + opening.subject
            headers = []
            if references:
                headers = [
                    ("In-Reply-To", references[-1]),
                    ("References", " ".join(references)),
                ]
            draft = Draft(
                _party(writer),
                tuple(_party(reader) for reader in readers),
                subject,
                text,
                web_page(text.splitlines()) if rng.random() < 0.5 else "",
                charset=phrases.charset,
                headers=tuple(headers),
            )
            references.append(self.outbox.send(draft, readers, kind, at=sent_at))
            sent_at = min(sent_at + timedelta(minutes=rng.randint(3, 600)), self._now)

    def announcement(self, kind: str) -> None:
        """From one colleague to many."""
        writer, *readers = self._people(6, 14)
        phrases = PHRASES[writer.language]
        text = _filled(phrases.announcement, self._facts(readers[0], writer))
        draft = Draft(
            _party(writer),
            (Party("All", f"all@{writer.domain}"),),
            text.subject,
            self._letter(phrases, text, readers[0], writer),
            charset=phrases.charset,
        )
        self.outbox.send(draft, readers, kind, at=self._moment())

    def shared_document(self, kind: str) -> None:
        """A link to a document on a host that everybody shares."""
        writer, *readers = self._people(2, 3)
        phrases = PHRASES[readers[0].language]
        text = _filled(phrases.shared_document, self._facts(readers[0], writer))
        self.outbox.send(
            self._linking(phrases, text, _party(writer), readers, [self._document_url()]),
            readers,
            kind,
            at=self._moment(),
        )

    def defanged(self, kind: str) -> None:
        """The security team quotes a phish so that nobody can click it."""
        writer, *readers = self._people(4, 9)
        campaign = self._campaign("phish_compromised")
        quoted = campaign.link.partition("?")[0].replace("https", "hxxps").replace(".", "[.]")
        lines = ("Please delete messages that lead to this page and do not open it:", quoted)
        draft = Draft(
            Party("Security Operations", f"soc@{writer.domain}"),
            tuple(_party(reader) for reader in readers),
            "Current phishing wave",
            "\n\n".join(lines) + "\n",
            web_page(lines),
        )
        self.outbox.send(draft, readers, kind, at=self._moment(), campaign=campaign, listed=False)

    # ---- good mail from outside ------------------------------------------------------

    def newsletter(self, kind: str) -> None:
        """To many mailboxes, with tracking links."""
        self._newsletter(kind)

    def newsletter_bulk(self, kind: str) -> None:
        """Marked as bulk at delivery, which Gmail has no words for."""
        readers = self._people(5, 16, prefer=MICROSOFT_DOMAIN)
        self._newsletter(kind, readers=readers, at_delivery=Verdict.BULK)

    def newsletter_short_links(self, kind: str) -> None:
        """Links through the shorteners and free hosts that phish uses too, other paths."""
        rng = self._rng
        other_case = self._campaign("phish_shortener").link
        host, _, code = other_case.removeprefix("https://").partition("/")
        self._newsletter(
            kind,
            links=[
                f"https://{rng.choice(SHORTENERS)}/{short_code(rng)}",
                f"https://{host}/{code.swapcase()}",
                f"https://docs-{rng.getrandbits(28):07x}.{rng.choice(FREE_HOSTS)}/guide/",
                self._document_url(),
            ],
        )

    def newsletter_wrapped(self, kind: str) -> None:
        """The same, as rewritten by mail gateways."""
        rng = self._rng
        url = f"https://{rng.choice(SHORTENERS)}/{short_code(rng)}"
        address = self._world.people[0].address
        self._newsletter(
            kind,
            links=[safelinks(url, address, rng), urldefense_v2(url, rng), urldefense_v3(url, rng)],
        )

    def newsletter_look_alike(self, kind: str) -> None:
        """Its host ends like a listed domain, though not at a dot."""
        host = f"sunday{self._world.suffix_trap.value}"
        self._newsletter(kind, paper=Party("Sunday Letters", f"editors@{host}"))

    def newsletter_broken_into(self, kind: str) -> None:
        """A small business writes to its customers; phish lives elsewhere on its site."""
        campaign = self._campaign(
            self._rng.choice(("phish_compromised", "phish_compromised_folder"))
        )
        host = campaign.link.split("/")[2]
        links = [
            f"https://{host}/angebote/",
            f"https://{host}/wp-content/uploads/2026/katalog.pdf",
            f"https://{host}/wp-includes/css/print.css",
        ]
        self._newsletter(
            kind,
            paper=Party(host.partition("-")[0].title(), f"info@{host}"),
            links=links,
            campaign=campaign,
        )

    def list_with_foreign_stamps(self, kind: str) -> None:
        """Carries other people's verdicts in headers that our receiver did not write."""
        foreign = [
            (
                "Authentication-Results",
                "mx.lists.example; spf=fail; dmarc=fail header.from=a.example",
            ),
            ("X-Spam-Flag", "YES"),
        ]
        readers = self._people(3, 8)
        if all(reader.domain == GOOGLE_DOMAIN for reader in readers):
            # Microsoft 365 would overwrite it; at Google it is a stranger's header.
            foreign.append(("X-Forefront-Antispam-Report", "SCL:9;SFV:SPM;CAT:HPHISH;DIR:OUT;"))
        self._newsletter(kind, readers=readers, headers=foreign)

    def receipt(self, kind: str) -> None:
        """With an invoice attached."""
        number = self._rng.randrange(10_000, 99_999)
        self._receipt(kind, f"Invoice_{number}.pdf")

    def receipt_same_file_name(self, kind: str) -> None:
        """Its attachment is named like a campaign's, and is another file."""
        file = self._campaign("phish_attachment").attachment
        self._receipt(kind, file.name if file else "Invoice.pdf")

    # ---- marked by the receiver at delivery ------------------------------------------

    def spam_at_delivery(self, kind: str) -> None:
        junk = self._rng.random() < 0.5
        self._unwanted(kind, "spam", Verdict.SPAM, Placement.JUNK if junk else Placement.INBOX)

    def phish_at_delivery(self, kind: str) -> None:
        """Recognised, and let through all the same by an allow list."""
        self._unwanted(
            kind, "account_lure", Verdict.MALICIOUS, Placement.INBOX, prefer=MICROSOFT_DOMAIN
        )

    def spoof_at_delivery(self, kind: str) -> None:
        """From outside in a colleague's name."""
        boss, *readers = self._people(2, 4)
        phrases = PHRASES[readers[0].language]
        text = _filled(phrases.document_lure, self._facts(readers[0], boss))
        draft = Draft(
            _party(boss),
            tuple(_party(reader) for reader in readers),
            text.subject,
            self._letter(phrases, text, readers[0], boss),
            charset=phrases.charset,
            headers=(("Reply-To", f"{boss.address.partition('@')[0]}@{bad_host(self._rng)}"),),
        )
        self.outbox.send(
            draft, readers, kind, at=self._moment(), at_delivery=Verdict.SPOOF, outside=True
        )

    def phish_in_junk(self, kind: str) -> None:
        """Taken for spam at delivery and put into junk; known for worse later."""
        self._phish(
            kind,
            self._campaign("phish_shortener"),
            at_delivery=Verdict.SPAM,
            placement=Placement.JUNK,
        )

    # ---- campaigns -------------------------------------------------------------------

    def campaign(self, kind: str) -> None:
        """A message of a campaign of this kind, unmarked at delivery."""
        self._phish(kind, self._campaign(kind))

    def _phish(
        self,
        kind: str,
        campaign: Campaign,
        *,
        at_delivery: Verdict = Verdict.NONE,
        placement: Placement = Placement.INBOX,
    ) -> None:
        rng = self._rng
        readers = self._people(1, 7)
        at = self._moment()
        groups = [[reader] for reader in readers] if campaign.is_personal else [readers]
        for group in groups:
            phrases = PHRASES[group[0].language]
            text: Text = getattr(phrases, campaign.lure)
            text = _filled(text, self._facts(group[0], None))
            link = campaign.link_for(group[0].address, rng)
            draft = self._linking(phrases, text, campaign.sender, group, [link] if link else [])
            shape = rng.random()
            draft = replace(
                draft,
                html_only=shape < 0.4 and bool(draft.html),
                html="" if shape > 0.9 else draft.html,
                attachments=(campaign.attachment,) if campaign.attachment else (),
            )
            self.outbox.send(
                draft,
                group,
                kind,
                at=at,
                campaign=campaign,
                at_delivery=at_delivery,
                placement=placement,
            )

    def _unwanted(
        self, kind: str, lure: str, verdict: Verdict, placement: Placement, *, prefer: str = ""
    ) -> None:
        readers = self._people(1, 4, prefer=prefer)
        phrases = PHRASES[readers[0].language]
        host = bad_host(self._rng)
        text = _filled(getattr(phrases, lure), self._facts(readers[0], None))
        draft = self._linking(
            phrases, text, Party("Team", f"team@{host}"), readers, [f"https://{host}/"]
        )
        self.outbox.send(
            draft, readers, kind, at=self._moment(), at_delivery=verdict, placement=placement
        )

    # ---- shared parts ----------------------------------------------------------------

    def _newsletter(
        self,
        kind: str,
        *,
        paper: Party | None = None,
        links: Sequence[str] = (),
        readers: Sequence[Person] = (),
        headers: Sequence[tuple[str, str]] = (),
        at_delivery: Verdict = Verdict.NONE,
        campaign: Campaign | None = None,
    ) -> None:
        rng = self._rng
        readers = readers or self._people(5, 16)
        language = readers[0].language
        phrases = PHRASES[language]
        if paper is None:
            name, domain = _PAPERS[language]
            paper = Party(name, f"redaktion@{domain}" if language == "de" else f"news@{domain}")
        issue = f"{rng.getrandbits(40):010x}"
        links = links or [f"https://click.{paper.domain}/c/{issue}/{n}" for n in range(1, 4)]
        unsubscribe = f"https://{paper.domain}/unsubscribe?issue={issue}&u={rng.getrandbits(32):x}"
        text = _filled(phrases.newsletter, self._facts(readers[0], None))
        draft = self._linking(
            phrases, text, paper, readers, links, more=[(phrases.unsubscribe, unsubscribe)]
        )
        draft = replace(
            draft,
            to=(Party(paper.name, f"subscribers@{paper.domain}"),),
            headers=(
                ("List-Id", f"<news.{paper.domain}>"),
                ("List-Unsubscribe", f"<{unsubscribe}>"),
                ("Precedence", "bulk"),
                *headers,
            ),
        )
        self.outbox.send(
            draft,
            readers,
            kind,
            at=self._moment(),
            at_delivery=at_delivery,
            campaign=campaign,
            listed=False,
        )

    def _receipt(self, kind: str, file_name: str) -> None:
        rng = self._rng
        readers = self._people(1, 1)
        phrases = PHRASES[readers[0].language]
        shop = rng.choice(_SHOPS)
        domain = "".join(c for c in shop.lower() if c.isascii() and c.isalpha()) + ".example"
        facts = self._facts(readers[0], None)
        text = _filled(phrases.receipt, facts)
        words = f"{shop} {facts['number']} {facts['amount']} {rng.getrandbits(64):016x}"
        make = {"docx": docx, "html": page}.get(file_name.rpartition(".")[2], pdf)
        file = (
            archive(file_name, "invoice.txt", words)
            if file_name.endswith(".zip")
            else make(file_name, words)
        )
        order = f"https://shop.{domain}/orders/{facts['number']}?t={rng.getrandbits(48):012x}"
        draft = self._linking(phrases, text, Party(shop, f"orders@{domain}"), readers, [order])
        self.outbox.send(replace(draft, attachments=(file,)), readers, kind, at=self._moment())

    def _linking(
        self,
        phrases: Phrases,
        text: Text,
        sender: Party,
        readers: Sequence[Person],
        links: Sequence[str],
        more: Sequence[tuple[str, str]] = (),
    ) -> Draft:
        """Text and HTML with the same links."""
        greeting = phrases.greeting.format(name=readers[0].given_name)
        words = [greeting, *text.paragraphs]
        buttons = [(text.button or text.subject, link) for link in links] + list(more)
        plain = [*words, *(f"{label}: {url}" for label, url in buttons), phrases.regards]
        image = self._rng.random() < 0.25
        return Draft(
            sender,
            tuple(_party(reader) for reader in readers),
            text.subject,
            "\n\n".join([*plain, sender.name]) + "\n",
            web_page([*words, f"{phrases.regards} {sender.name}"], links=buttons, image=image),
            charset=phrases.charset,
            inline_image=logo(26, 95, 180) if image else b"",
        )

    def _letter(self, phrases: Phrases, text: Text, reader: Person, writer: Person) -> str:
        greeting = phrases.greeting.format(name=reader.given_name)
        lines = [greeting, *text.paragraphs, f"{phrases.regards}\n{writer.display_name}"]
        return "\n\n".join(lines) + "\n"

    def _facts(self, reader: Person, writer: Person | None) -> dict[str, str]:
        rng = self._rng
        return {
            "name": reader.given_name,
            "sender": writer.display_name if writer else "",
            "number": str(rng.randrange(1000, 999_999)),
            "amount": f"{rng.randrange(2, 900)},{rng.randrange(10, 99)} EUR",
            "day": f"{rng.randrange(1, 29)}.{rng.randrange(1, 13)}.",
            "company": rng.choice(_COMPANIES),
        }

    def _people(self, least: int, most: int, *, prefer: str = "") -> list[Person]:
        """Different people, as far as there are enough; mostly of one house.

        ``prefer`` is a house that somebody of must be among them, if it has people at all.
        """
        rng = self._rng
        everybody = list(self._world.people)
        preferred = [person for person in everybody if person.domain == prefer]
        if preferred:
            first = rng.choice(preferred)
            others = [person for person in self._people(least, most) if person != first]
            return [first, *others][:most]
        home = rng.choice(everybody).domain
        house = [person for person in everybody if person.domain == home]
        count = rng.randint(least, most)
        group = house if rng.random() < 0.6 and len(house) >= least else everybody
        return rng.sample(group, min(count, len(group)))

    def _moment(self) -> datetime:
        return moment_before(self._now, self._rng) if self._spread else self._now

    def _campaign(self, kind: str) -> Campaign:
        return self._rng.choice(self._world.campaigns[kind])

    def _document_url(self) -> str:
        rng = self._rng
        tenant = rng.choice(("contoso", "hansenlogistik", "moreaufils"))
        return rng.choice(
            (
                f"https://docs.google.com/document/d/1{short_code(rng)}{short_code(rng)}/edit",
                f"https://{tenant}.sharepoint.com/:w:/s/plan/E{short_code(rng)}?e={short_code(rng)}",
                f"https://www.dropbox.com/scl/fi/{short_code(rng).lower()}/plan.pdf",
            )
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of message: how to write one, and how often compared with the others."""

    write: Callable[[Author, str], None]
    share: int


KINDS: dict[str, Kind] = {
    "thread": Kind(Author.thread, 28),
    "announcement": Kind(Author.announcement, 4),
    "shared_document": Kind(Author.shared_document, 8),
    "defanged_warning": Kind(Author.defanged, 1),
    "newsletter": Kind(Author.newsletter, 12),
    "newsletter_bulk": Kind(Author.newsletter_bulk, 4),
    "newsletter_short_links": Kind(Author.newsletter_short_links, 6),
    "newsletter_wrapped": Kind(Author.newsletter_wrapped, 3),
    "newsletter_look_alike": Kind(Author.newsletter_look_alike, 2),
    "newsletter_broken_into": Kind(Author.newsletter_broken_into, 4),
    "list_with_foreign_stamps": Kind(Author.list_with_foreign_stamps, 3),
    "receipt": Kind(Author.receipt, 9),
    "receipt_same_file_name": Kind(Author.receipt_same_file_name, 2),
    "spam_at_delivery": Kind(Author.spam_at_delivery, 4),
    "phish_at_delivery": Kind(Author.phish_at_delivery, 2),
    "spoof_at_delivery": Kind(Author.spoof_at_delivery, 2),
    "phish_in_junk": Kind(Author.phish_in_junk, 1),
    **{kind: Kind(Author.campaign, 1) for kind in CAMPAIGN_KINDS},
    "spam_campaign": Kind(Author.campaign, 3),
    "phish_unlisted": Kind(Author.campaign, 2),
}
"""Shares are per hundred or so."""


def _filled(text: Text, facts: dict[str, str]) -> Text:
    return Text(
        text.subject.format(**facts),
        tuple(paragraph.format(**facts) for paragraph in text.paragraphs),
        text.button,
    )


def _party(person: Person) -> Party:
    return Party(person.display_name, person.address)
