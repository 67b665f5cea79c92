"""Chance that is the same again: by seed and by what is at stake, not by when."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")
Key = tuple[str, ...]

_RANGE = 2**64


@dataclass(frozen=True, slots=True)
class Dice:
    """Safe to use from any thread."""

    seed: int
    _thrown: Counter[Key] = field(default_factory=Counter)
    _hit: Counter[Key] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def number(self, key: Key) -> float:
        """From 0 to 1, without 1; always the same for a key."""
        text = "\x1f".join((str(self.seed), *key)).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) / _RANGE

    def one_of(self, options: Sequence[T], key: Key) -> T:
        """Always the same option for a key."""
        return options[int(self.number(key) * len(options))]

    def hit(self, chance: float, key: Key, most: int) -> bool:
        """Throw anew for this key: the n-th throw always ends the same; hits end after so many."""
        if not chance:
            return False
        with self._lock:
            self._thrown[key] += 1
            if self._hit[key] >= most:
                return False
            struck = self.number((*key, str(self._thrown[key]))) < chance
            self._hit[key] += struck
            return struck

    def first(self, key: Key) -> bool:
        """Whether this is asked of the key for the first time."""
        with self._lock:
            self._thrown[key] += 1
            return self._thrown[key] == 1
