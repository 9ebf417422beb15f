"""Camera agents as processes, and videos made here."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

GISTLINE = str(Path(sys.executable).with_name("gistline"))


@contextmanager
def agent_process(key: str, *arguments: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """``gistline camera`` with its key in the environment and its output in ``folder/agent.log``; killed at the end."""
    with (folder / "agent.log").open("a") as log:
        process = subprocess.Popen(
            [GISTLINE, "camera", *arguments],
            cwd=folder,
            env=os.environ | {"GISTLINE_CAMERA_KEY": key, "COLUMNS": "200"},
            text=True,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()


def write_video(path: Path, levels: Sequence[int], *, fps: int = 10) -> Path:
    """Frames of one grey level each, 64 pixels a side."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for level in levels:
            picture = np.full((64, 64, 3), level, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@contextmanager
def answering(body: bytes) -> Iterator[str]:
    """URL of a server that accepts everything and answers this."""
    with streamed(body) as (url, _):
        yield url


@contextmanager
def streamed(body: bytes) -> Iterator[tuple[str, list[str]]]:
    """URL of a server that sends a video to whoever asks and then hangs up, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
