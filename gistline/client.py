"""A camera's connection to the API, for the computer beside the camera.

    with CameraClient("http://gistline:8080", read_key()) as camera:
        camera.submit([Shot(jpeg)])

Needs ``httpx2`` and :mod:`gistline.errors`, nothing else. Every frame has a key of its own, so a request that is
repeated after a lost answer makes no second frame. The camera's key goes into one header, and into no message.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx2

from gistline.errors import (
    Conflict,
    FleetBusy,
    GistlineError,
    ImageTooLarge,
    NotAllowed,
    NotAuthenticated,
    NotFound,
    RequestRejected,
    SettingsError,
    StorageFull,
    StorageUnavailable,
)

KEY_VARIABLE: Final = "GISTLINE_CAMERA_KEY"
FRAMES_A_REQUEST: Final = 16
NOT_OURS: Final = "Is this the address of a Gistline API?"
LONGEST_STEP_S: Final = 30.0
LONGEST_ASKED_S: Final = 600
"""A proxy may ask for any pause; a camera that kept to a day of it would be lost for a day."""
"""The pauses after unanswered requests double from a second up to this."""
UNANSWERED: Final = frozenset({408, 500, 502, 503, 504})
"""Statuses that may be another one later; repeating is safe, since frames have keys."""
REFUSALS: Final[Mapping[int, type[GistlineError]]] = {
    401: NotAuthenticated,
    403: NotAllowed,
    404: NotFound,
    409: Conflict,
    413: ImageTooLarge,
}


class Unanswered(StorageUnavailable):
    """The API is away, or cannot store now; ``retry_after_s`` is the pause that it asked for, if it did."""

    title = "API away"

    def __init__(self, message: str, *, cure: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, cure=cure)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Shot:
    """One encoded image (JPEG, PNG, BMP or WebP) on its way to the API.

    ``frame_key`` names the frame for ever, at most 200 printable characters; ``captured_at`` is timezone-aware.
    """

    data: bytes
    frame_key: str = field(default_factory=lambda: uuid4().hex)
    captured_at: datetime | None = None
    part_number: str | None = None

    def meta(self) -> dict[str, str]:
        """What the API is told of it beside its bytes."""
        when = self.captured_at.isoformat() if self.captured_at else None
        told = {"frame_key": self.frame_key, "captured_at": when, "part_number": self.part_number}
        return {name: value for name, value in told.items() if value}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A frame that the API has stored for good; ``duplicate`` when an earlier request had brought it."""

    id: str
    frame_key: str
    state: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is repeated: ``attempts`` when nobody answers, ``busy_s`` seconds while it is put off."""

    attempts: int = 4
    busy_s: float = 600.0


class CameraClient(AbstractContextManager["CameraClient"]):
    """Sends frames with one camera's key; ``notice`` hears of each pause in seconds, ``wait`` makes it."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        patience: Patience | None = None,
        timeout_s: float = 120.0,
        notice: Callable[[GistlineError, float], None] | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"{url!r} is no address of an API.", cure="Such as http://127.0.0.1:8080.")
        self.patience = patience or Patience()
        self._notice = notice
        self._wait = wait
        # Redirects are not followed: the key is for this address.
        headers = {"Authorization": f"Bearer {key}"}
        try:
            self._http = httpx2.Client(base_url=url, headers=headers, timeout=timeout_s, follow_redirects=False)
        except httpx2.InvalidURL as error:
            raise SettingsError(f"{url!r} is no address: {error}.", cure="Such as http://127.0.0.1:8080.") from error

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    def submit(self, shots: Sequence[Shot]) -> list[Accepted]:
        """Have the API store frames, in their order: all of this call, or none.

        Raises:
            Unanswered: it does not answer; whether it has the frames is unknown, and the same call again is safe.
            FleetBusy: it puts them off beyond the patience (StorageFull: its disk is nearly full).
            NotAuthenticated, NotAllowed, NotFound: the key or the address is wrong.
            Conflict, ImageTooLarge, RequestRejected: it refuses the frames themselves.

        """
        files = [("images", (f"{place}", shot.data, "application/octet-stream")) for place, shot in enumerate(shots)]
        meta = json.dumps([shot.meta() for shot in shots])
        answer = self.send("POST", "/v1/frames", data={"meta": meta}, files=files)
        try:
            accepted = [Accepted(**{name: one[name] for name in Accepted.__slots__}) for one in answer["frames"]]
        except (KeyError, TypeError):
            accepted = []
        if len(accepted) != len(shots):
            raise NotFound(f"{self._http.base_url} answers without these frames.", cure=NOT_OURS)
        return accepted

    def frame(self, frame_id: str) -> dict[str, Any]:
        """State, verdict and findings of a frame that this camera sent. Raises what :meth:`submit` does."""
        return self.send("GET", f"/v1/frames/{frame_id}")

    def send(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        """One request, again while the API is away or puts it off and the patience lasts; its JSON answer."""
        patient_until = time.monotonic() + self.patience.busy_s
        unanswered = 0
        while True:
            try:
                return self._once(method, path, **content)
            except FleetBusy as error:
                pause = put_off_s(error)
                if time.monotonic() + pause > patient_until:
                    raise
                self._pause(error, pause)
            except Unanswered as error:
                unanswered += 1
                if unanswered >= self.patience.attempts:
                    raise
                self._pause(error, step_s(unanswered, error.retry_after_s))

    def _pause(self, error: GistlineError, pause_s: float) -> None:
        if self._notice is not None:
            self._notice(error, pause_s)
        self._wait(pause_s)

    def _once(self, method: str, path: str, **content: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **content)
        except httpx2.RequestError as error:
            raise Unanswered(f"{self._http.base_url} does not answer: {error}.", cure="Is it running?") from error
        said = _object(answer)
        if answer.is_success and said is not None:
            return said
        raise _refusal(answer, said)


def read_key(file: Path | None = None) -> str:
    """A camera's key from a file, or from ``GISTLINE_CAMERA_KEY`` or the file that ``GISTLINE_CAMERA_KEY_FILE`` names.

    Raises:
        SettingsError: there is none, or it is not of the form of a key; the text itself is never shown.

    """
    named = file or Path(os.environ.get(f"{KEY_VARIABLE}_FILE", ""))
    if named != Path():
        try:
            key, place = named.read_text().strip(), str(named)
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{named} cannot be read: {type(error).__name__}.", cure="It holds the key.") from error
    else:
        key, place = os.environ.get(KEY_VARIABLE, "").strip(), KEY_VARIABLE
    if not key:
        cure = f"Set {KEY_VARIABLE}, or name a file that holds it ({KEY_VARIABLE}_FILE)."
        raise SettingsError(f"There is no camera's key in {place}.", cure=cure)
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise SettingsError(f"What {place} holds is no camera's key.", cure="'gistline cameras add' prints one.")
    return key


def put_off_s(error: FleetBusy) -> float:
    """Seconds to wait after being put off: what was asked for, and up to a tenth more."""
    return error.retry_after_s * random.uniform(1.0, 1.1)  # noqa: S311 - spreads cameras, no secret


def step_s(unanswered: int, asked_s: float | None = None) -> float:
    """Seconds before the next attempt after so many without an answer: jittered, never less than was asked for."""
    longest = min(LONGEST_STEP_S, 2.0 ** min(unanswered - 1, 10))
    return max(asked_s or 0.0, random.uniform(longest / 2, longest))  # noqa: S311 - spreads cameras, no secret


def _object(answer: httpx2.Response) -> dict[str, Any] | None:
    try:
        said = answer.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _refusal(answer: httpx2.Response, said: Mapping[str, Any] | None) -> GistlineError:
    """The error that an answer stands for; what is no problem response of ours comes from somebody else."""
    status = answer.status_code
    ours = said is not None and "detail" in said and "cure" in said
    message = str(said["detail"]) if said and ours else f"{answer.url} answered {status}."
    cure = str(said["cure"]) if said and ours else NOT_OURS
    pause = answer.headers.get("retry-after", "")
    asked = min(LONGEST_ASKED_S, int(pause)) if pause.isdecimal() and len(pause) < 10 else None
    if status in (429, 507):
        return (FleetBusy if status == 429 else StorageFull)(message, cure=cure, retry_after_s=asked or 1)
    if status in UNANSWERED:
        return Unanswered(message, cure=cure, retry_after_s=asked)
    return (REFUSALS.get(status, RequestRejected) if ours else NotFound)(message, cure=cure)
