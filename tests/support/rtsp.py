"""As much of an RTSP server as a viewer needs: an MPEG-TS video, RTP inside the RTSP connection (RFC 2326, 2250)."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import StreamRequestHandler, ThreadingTCPServer

TS_PACKET = 188
PACKETS_A_DATAGRAM = 7
SDP = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track1\r\n"


@contextmanager
def rtsp_camera(transport_stream: bytes) -> Iterator[tuple[str, list[str]]]:
    """Address of a camera that plays a video once to whoever asks and then hangs up; and what it was asked."""
    asked: list[str] = []

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            while request := self.rfile.readline().decode().split():
                headers = dict(iter(self.header, ("", "")))
                asked.append(" ".join((request[0], headers.get("transport", ""))).strip())
                self.answer(request[0], headers["cseq"])
                if request[0] == "PLAY":
                    self.play()
                    return

        def header(self) -> tuple[str, str]:
            name, _, value = self.rfile.readline().decode().strip().partition(":")
            return name.lower(), value.strip()

        def answer(self, method: str, number: str) -> None:
            more, body = {
                "OPTIONS": ("Public: OPTIONS, DESCRIBE, SETUP, PLAY\r\n", ""),
                "DESCRIBE": (f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n", SDP),
                "SETUP": ("Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
            }.get(method, ("Session: 1\r\n", ""))
            self.wfile.write(f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{more}\r\n{body}".encode())

        def play(self) -> None:
            step = TS_PACKET * PACKETS_A_DATAGRAM
            for place, start in enumerate(range(0, len(transport_stream), step)):
                rtp = struct.pack(">BBHII", 0x80, 33, place, place * 900, 1) + transport_stream[start : start + step]
                self.wfile.write(b"$\x00" + struct.pack(">H", len(rtp)) + rtp)

    server = ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"rtsp://anna:geheim@127.0.0.1:{server.server_address[1]}/stream1", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
