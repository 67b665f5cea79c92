"""The people of the tenant: names, addresses and the language they write in."""

from __future__ import annotations

import random
import unicodedata
from dataclasses import dataclass

MICROSOFT_DOMAIN = "north.example"
GOOGLE_DOMAIN = "south.example"

_NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "en": (
        ("Alice", "Grace", "Henry", "Olivia", "Thomas", "Ruth", "Samuel", "Priya", "Nadia"),
        ("Archer", "Bennett", "Clarke", "Doyle", "Evans", "Okafor", "Patel", "Quinn", "Shaw"),
    ),
    "de": (
        ("Anke", "Bernd", "Jürgen", "Katharina", "Lukas", "Sabine", "Uwe", "Friederike"),
        ("Bäcker", "Fuchs", "Köhler", "Müller", "Schäfer", "Vogel", "Weiß", "Zimmermann"),
    ),
    "fr": (
        ("Amélie", "Benoît", "Chloé", "François", "Hélène", "Mathieu", "Zoé"),
        ("Bernard", "Chevalier", "Dubois", "Fournier", "Lefèvre", "Moreau", "Rousseau"),
    ),
    "es": (
        ("Álvaro", "Begoña", "Inés", "Javier", "Lucía", "Íñigo", "Sofía"),
        ("Castillo", "Domínguez", "Fernández", "Ibáñez", "Núñez", "Ortega", "Vázquez"),
    ),
    "pl": (
        ("Agnieszka", "Łukasz", "Małgorzata", "Paweł", "Zofia", "Wojciech"),
        ("Dąbrowski", "Kowalczyk", "Nowak", "Wiśniewska", "Zając", "Żak"),
    ),
    "ja": (
        ("Haruka", "Kenji", "Mika", "Satoshi", "Yuki", "Takeshi"),
        ("Ito", "Kobayashi", "Nakamura", "Sato", "Tanaka", "Yamada"),
    ),
    "pt": (
        ("Beatriz", "João", "Marília", "Otávio", "Thiago"),
        ("Araújo", "Gonçalves", "Magalhães", "Simões", "Teixeira"),
    ),
}
_LANGUAGE_WEIGHTS = {"en": 6, "de": 5, "fr": 3, "es": 3, "pl": 2, "ja": 2, "pt": 1}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with a mailbox."""

    given_name: str
    family_name: str
    address: str
    language: str
    """An ISO 639-1 code."""

    @property
    def domain(self) -> str:
        return self.address.rpartition("@")[2]

    @property
    def display_name(self) -> str:
        return f"{self.given_name} {self.family_name}"


def _ascii(name: str) -> str:
    """The name as mail administrators write it in an address."""
    plain = name.lower().replace("ß", "ss").replace("ł", "l")
    return unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()


def people(domain: str, count: int, *, seed: int = 1) -> list[Person]:
    """``count`` people of the domain, addresses unique, the same for the same arguments."""
    rng = random.Random(f"{seed}/{domain}")
    languages, weights = zip(*_LANGUAGE_WEIGHTS.items(), strict=True)
    taken: set[str] = set()
    found: list[Person] = []
    while len(found) < count:
        language = rng.choices(languages, weights)[0]
        given_names, family_names = _NAMES[language]
        given, family = rng.choice(given_names), rng.choice(family_names)
        local_part = f"{_ascii(given)}.{_ascii(family)}"
        number = 2
        while f"{local_part}@{domain}" in taken:
            local_part = f"{_ascii(given)}.{_ascii(family)}{number}"
            number += 1
        address = f"{local_part}@{domain}"
        taken.add(address)
        found.append(Person(given, family, address, language))
    return found
