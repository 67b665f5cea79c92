"""Sends drafts: once through each service their readers are at, noting down the truth."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from local_tenant.delivery import Delivery, Placement
from local_tenant.people import GOOGLE_DOMAIN, Person
from local_tenant.synthetic import receiver_stamps
from local_tenant.synthetic.campaigns import Campaign
from local_tenant.synthetic.composing import Draft, compose
from local_tenant.synthetic.receiver_stamps import Transit
from local_tenant.synthetic.verdict import Verdict

_DOCUMENTATION_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


@dataclass(frozen=True, slots=True)
class Truth:
    """What a delivery is, by the author's own knowledge."""

    delivery_id: str
    internet_message_id: str
    """With its angle brackets, as in the header."""
    kind: str
    campaign: str
    """Empty when it belongs to none."""
    expected_disposition: Verdict
    """Once the feeds list what they will list; NONE when there is nothing to act on."""


class Outbox:
    """Everything sent, as ``deliveries`` with one ``truth`` each."""

    def __init__(self, rng: random.Random, name: str) -> None:
        """``name`` begins every delivery id."""
        self.deliveries: list[Delivery] = []
        self.truth: list[Truth] = []
        self._rng = rng
        self._name = name

    def send(
        self,
        draft: Draft,
        readers: Sequence[Person],
        kind: str,
        *,
        at: datetime,
        at_delivery: Verdict = Verdict.NONE,
        placement: Placement = Placement.INBOX,
        campaign: Campaign | None = None,
        listed: bool = True,
        outside: bool = False,
    ) -> str:
        """Deliver one message, once for each service its readers are at; its Message-ID.

        ``listed`` says that the feeds' listing of the campaign is about this message.
        """
        rng = self._rng
        number = len(self.deliveries)
        message_id = f"<{rng.getrandbits(64):016x}.{self._name}.{number}@{draft.sender.domain}>"
        sent_at = at - timedelta(seconds=rng.randint(1, 40))
        sent = compose(draft, message_id=message_id, sent_at=sent_at, rng=rng)
        later = campaign.verdict if campaign and listed else Verdict.NONE
        for domain in dict.fromkeys(reader.domain for reader in readers):
            recipients = tuple(r.address for r in readers if r.domain == domain)
            transit = Transit(
                draft.sender.address,
                f"{rng.choice(_DOCUMENTATION_NETWORKS)}.{rng.randrange(1, 255)}",
                f"mail.{draft.sender.domain}",
                recipients[0],
                at,
                readers[0].language,
                internal=draft.sender.domain == domain and not outside,
            )
            if domain == GOOGLE_DOMAIN:
                said, place = receiver_stamps.google_verdict(at_delivery)
                stamps = receiver_stamps.google(transit, said, rng)
            else:
                said, place = at_delivery, placement
                stamps = receiver_stamps.microsoft(transit, said, rng)
            delivery_id = f"{self._name}-{len(self.deliveries):05d}-{domain.partition('.')[0]}"
            self.deliveries.append(
                Delivery(
                    delivery_id,
                    stamps + sent,
                    recipients,
                    at,
                    place,
                    is_read=rng.random() < 0.6,
                    categories=_tabs(draft, transit) if place is Placement.INBOX else (),
                )
            )
            self.truth.append(
                Truth(
                    delivery_id,
                    message_id,
                    kind,
                    campaign.name if campaign else "",
                    Verdict.gravest((said, later)),
                )
            )
        return message_id


def _tabs(draft: Draft, transit: Transit) -> tuple[str, ...]:
    """The tab of the inbox that Gmail would sort it into."""
    if any(name == "List-Id" for name, _ in draft.headers):
        return ("CATEGORY_PROMOTIONS",)
    return ("CATEGORY_PERSONAL" if transit.internal else "CATEGORY_UPDATES",)
