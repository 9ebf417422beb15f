"""Passwords as argon2id hashes."""

from __future__ import annotations

import threading
from typing import Final

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

LONGEST = 1_024
"""Longer ones are refused unread."""
NOBODY: Final = "$argon2id$v=19$m=65536,t=3,p=4$kDgyybmRFHDTupRYw+USqA$w+1MAqrEq41jVxIhThrnTZ6jkA5QMGcHiAZrihmw3x4"
"""Hash of random bits that nobody has, which is checked where nobody has the name, so that both take equally long."""

_hasher: Final = PasswordHasher(time_cost=3, memory_cost=65_536, parallelism=4, type=Type.ID)
"""RFC 9106, section 4, second recommendation: three passes over 64 MiB on four lanes."""
_places: Final = threading.BoundedSemaphore(2)
"""Hashes in this process at once: each takes 64 MiB, and who knocks often shall not take all memory."""


def hash_password(password: str) -> str:
    """Hash with its salt and parameters in one text."""
    with _places:
        return _hasher.hash(password)


def is_password(password: str, stored: str | None) -> bool:
    """Whether it is the one that was hashed. Takes as long for None, which stands for a name that nobody has."""
    with _places:
        try:
            return _hasher.verify(stored or NOBODY, password) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


def is_outdated(stored: str) -> bool:
    """Whether it was hashed with other parameters than are used now."""
    return _hasher.check_needs_rehash(stored)
