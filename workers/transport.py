"""Kombu's Redis transport with one guard: a command on a connection that was released is a connection error.

Celery 5.7 closes a broken connection before it reconnects: ``Connection._do_close_transport`` sets ``Transport.client``
to None and ``Channel.close`` empties the channel's pools. Whatever still uses that channel (a late acknowledgement, a
timer of the old connection) asks ``Channel._connparams`` for a new pool, which reads ``connection.client.hostname`` and
raises ``AttributeError``. Celery forgives connection errors there, but not that one, and the process may end. A message
that could not be acknowledged comes back by its visibility timeout, and finds its frames inspected.
"""

from __future__ import annotations

from typing import Any, Final

from kombu.transport import redis
from redis.exceptions import ConnectionError  # noqa: A004 - Redis's own

GUARDED: Final = "workers.transport:GuardedTransport"
"""Name under which kombu finds the class."""


class GuardedChannel(redis.Channel):
    """A channel that knows when its connection was released."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise ConnectionError("This channel's connection was released; the worker has another by now.")
        found: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]
        return found


class GuardedTransport(redis.Transport):
    """The transport of every worker."""

    Channel = GuardedChannel
