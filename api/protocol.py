"""HTTP that is no HTTP is refused like everything else: with a problem that says why."""

from __future__ import annotations

import json

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from api.problems import MEDIA_TYPE, RequestMalformed, content_of

MAX_HEAD_BYTES = 65_536
"""Request line and headers together."""


class ProblemProtocol(H11Protocol):
    """uvicorn's protocol on h11, but for the body of its own 400 answers."""

    def send_400_response(self, msg: str) -> None:
        """Answer what cannot be read as a request, and hang up."""
        error = RequestMalformed(msg, cure=f"Send HTTP/1.1 with at most {MAX_HEAD_BYTES} bytes of headers.")
        body = json.dumps(content_of(error)).encode()
        headers = [("Content-Type", MEDIA_TYPE), ("Content-Length", str(len(body))), ("Connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
