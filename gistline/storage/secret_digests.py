"""Random secrets: made here, shown once, kept as their SHA-256. 256 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import secrets


def new_secret(prefix: str = "") -> str:
    """``prefix`` and 256 random bits in 43 characters that are safe in headers, cookies and files."""
    return prefix + secrets.token_urlsafe(32)


def digest(secret: str) -> bytes:
    """What the database keeps of it."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
