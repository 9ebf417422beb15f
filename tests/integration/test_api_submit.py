"""What is answered with 202 is durable and rung; what is refused leaves nothing; a key makes one frame, ever."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx2
import pytest
from sqlalchemy import text

from gistline.domain import FrameState
from gistline.errors import RequestRejected, StorageUnavailable
from gistline.flows.submit_frames import Submitted, submit_frames
from gistline.settings import ApiSettings
from gistline.settings_frames import FrameSettings
from gistline.storage.cameras import find_camera
from gistline.storage.session import transaction
from gistline.storage.submissions import hold_bytes_alone
from tests.support import images
from tests.support.api import CAMERA, LINE, RunningApi, serving, settings_for

DATA = images.frame(1)
DIGEST = hashlib.sha256(DATA).hexdigest()
WHEN = "2026-11-23T10:11:12.500+02:00"


def parts(bodies: Sequence[bytes], meta: object = None) -> dict[str, object]:
    """Arguments of a multipart request."""
    files = [("images", (f"{place}.jpg", body)) for place, body in enumerate(bodies)]
    return {"files": files} | ({} if meta is None else {"data": {"meta": json.dumps(meta)}})


def accepted(answer: httpx2.Response) -> list[dict[str, object]]:
    assert answer.status_code == 202, answer.text
    found: list[dict[str, object]] = answer.json()["frames"]
    return found


def refused(answer: httpx2.Response, status: int, why: str) -> dict[str, object]:
    """The problem of a refused request, once it is seen to be one."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "cure", "ids"}
    assert problem["status"] == status
    assert problem["cure"]
    assert why in str(problem["detail"])
    return problem


def test_one_raw_image_is_stored_committed_and_rung(api: RunningApi, camera: httpx2.Client) -> None:
    before = datetime.now(UTC)
    (frame,) = accepted(camera.post("/v1/frames", content=DATA, headers={"Content-Type": "image/jpeg"}))
    row = api.row(str(frame["id"]))
    assert frame == {"id": str(row.id), "frame_key": row.idempotency_key, "state": "pending", "duplicate": False}
    assert (row.state, row.line, row.sha256, row.byte_count) == (FrameState.PENDING, LINE, DIGEST, len(DATA))
    assert (row.media_type, row.width, row.height, row.bytes_stored) == ("image/jpeg", 64, 64, True)
    assert row.sent_at == row.accepted_at == row.captured_at
    assert before - timedelta(seconds=1) < row.accepted_at < datetime.now(UTC) + timedelta(seconds=1)
    assert row.id.version == 7
    assert row.expires_at is None
    assert api.store.get(DIGEST) == DATA
    assert api.bells.frames == [row.id]


@pytest.mark.parametrize("by", ["query", "headers", "both"])
def test_fields_of_a_raw_image(api: RunningApi, camera: httpx2.Client, by: str) -> None:
    fields = {"frame_key": "shift 3/0001", "captured_at": WHEN, "part_number": "PN-7", "line": LINE}
    headers = {f"Gistline-{name.replace('_', '-')}": value for name, value in fields.items()}
    answer = camera.post(
        "/v1/frames",
        content=DATA,
        params=fields if by != "headers" else None,
        headers=headers if by != "query" else None,
    )
    (frame,) = accepted(answer)
    row = api.row(str(frame["id"]))
    assert (row.idempotency_key, row.part_number, row.line) == ("shift 3/0001", "PN-7", LINE)
    assert row.captured_at == datetime.fromisoformat(WHEN)


def test_many_images_keep_their_order_and_fields(api: RunningApi, camera: httpx2.Client) -> None:
    bodies = [images.frame(seed) for seed in range(16)]
    meta = [{"frame_key": f"k{place:02}", "part_number": f"p{place}"} for place in range(16)]
    frames = accepted(camera.post("/v1/frames", **parts(bodies, meta)))  # type: ignore[arg-type]
    assert [frame["frame_key"] for frame in frames] == [one["frame_key"] for one in meta]
    for frame, body, one in zip(frames, bodies, meta, strict=True):
        row = api.row(str(frame["id"]))
        assert (api.store.get(row.sha256), row.part_number) == (body, one["part_number"])
    assert api.bells.frames == [UUID(str(frame["id"])) for frame in frames]


def test_trace_context_is_kept_when_it_is_one(api: RunningApi, camera: httpx2.Client) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    for given, kept in ((trace, trace), ("nonsense", None)):
        (frame,) = accepted(camera.post("/v1/frames", content=DATA, headers={"traceparent": given}))
        assert api.row(str(frame["id"])).traceparent == kept


def test_equal_images_without_keys_are_separate_frames_with_shared_bytes(
    api: RunningApi, camera: httpx2.Client
) -> None:
    frames = accepted(camera.post("/v1/frames", **parts([DATA, DATA])))  # type: ignore[arg-type]
    frames += accepted(camera.post("/v1/frames", content=DATA))
    assert len({frame["id"] for frame in frames}) == len({frame["frame_key"] for frame in frames}) == 3
    assert not any(frame["duplicate"] for frame in frames)
    assert api.stored() == [DIGEST]


def test_a_repeated_key_gives_the_same_frame(api: RunningApi, camera: httpx2.Client) -> None:
    first, again = (accepted(camera.post("/v1/frames?frame_key=k", content=DATA))[0] for _ in range(2))
    assert again == first | {"duplicate": True}
    assert len(api.rows()) == 1
    assert api.bells.frames == [UUID(str(first["id"]))]


def test_a_repeated_key_shows_the_state_of_the_frame(api: RunningApi, camera: httpx2.Client) -> None:
    (first,) = accepted(camera.post("/v1/frames?frame_key=k", content=DATA))
    with transaction(api.sessions) as session:
        session.execute(text("UPDATE frames SET state = 'inspected', finished_at = now(), bytes_stored = false"))
    api.store.delete(DIGEST)
    (again,) = accepted(camera.post("/v1/frames?frame_key=k", content=DATA))
    assert again == first | {"duplicate": True, "state": "inspected"}
    assert api.stored() == []


def test_a_key_repeated_within_a_request_is_one_frame(api: RunningApi, camera: httpx2.Client) -> None:
    meta = [{"frame_key": "k"}, {"frame_key": "l"}, {"frame_key": "k"}]
    first, other, again = accepted(camera.post("/v1/frames", **parts([DATA, DATA, DATA], meta)))  # type: ignore[arg-type]
    assert again == first | {"duplicate": True}
    assert other["id"] != first["id"]
    assert len(api.rows()) == len(api.bells.frames) == 2


def test_a_key_for_other_bytes_is_a_conflict(api: RunningApi, camera: httpx2.Client) -> None:
    accepted(camera.post("/v1/frames?frame_key=k", content=DATA))
    before = api.held()
    meta = [{"frame_key": "new"}, {"frame_key": "k"}]
    answer = camera.post("/v1/frames", **parts([images.frame(2), images.frame(3)], meta))  # type: ignore[arg-type]
    problem = refused(answer, 409, "Image 1: frame_key 'k' was used before for other bytes")
    assert problem["ids"] == {"index": "1", "frame_key": "k"}
    meta = [{"frame_key": "x"}, {"frame_key": "x"}]
    refused(camera.post("/v1/frames", **parts([DATA, images.frame(2)], meta)), 409, "Image 1")  # type: ignore[arg-type]
    assert api.held() == before
    assert len(api.bells.frames) == 1


def test_the_same_key_of_two_cameras_is_two_frames(api: RunningApi, camera: httpx2.Client) -> None:
    (first,) = accepted(camera.post("/v1/frames?frame_key=k", content=DATA))
    with api.client(api.add_camera("cam-2", LINE)) as other:
        (second,) = accepted(other.post("/v1/frames?frame_key=k", content=images.frame(2)))
    assert second["id"] != first["id"]
    assert not second["duplicate"]


def test_racing_requests_with_the_same_keys_make_one_frame_each(api: RunningApi) -> None:
    bodies = [images.frame(seed) for seed in range(8)]

    def send(turn: int) -> list[dict[str, object]]:
        order = list(range(8)) if turn % 2 else list(reversed(range(8)))
        meta = [{"frame_key": f"k{place}"} for place in order]
        with api.client() as client:
            return accepted(client.post("/v1/frames", **parts([bodies[place] for place in order], meta)))  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        found = [frame for frames in pool.map(send, range(24)) for frame in frames]
    assert len(api.rows()) == 8
    assert Counter(frame["duplicate"] for frame in found) == {False: 8, True: 8 * 23}
    assert len({(frame["id"], frame["frame_key"]) for frame in found}) == 8
    assert sorted(api.bells.frames) == sorted(row.id for row in api.rows())


def test_racing_requests_with_other_bytes_have_one_winner(api: RunningApi) -> None:
    def send(seed: int) -> int:
        with api.client() as client:
            return client.post("/v1/frames?frame_key=k", content=images.frame(seed)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(send, range(16))) == {202: 1, 409: 15}
    assert len(api.rows()) == 1


def test_one_bad_image_refuses_the_whole_request(api: RunningApi, camera: httpx2.Client) -> None:
    before = api.held()
    answer = camera.post("/v1/frames", **parts([DATA, DATA[:-40], images.frame(2)]))  # type: ignore[arg-type]
    problem = refused(answer, 422, "Image 1: The JPEG has no end-of-image marker")
    assert problem["ids"] == {"index": "1"}
    assert api.held() == before == (0, [])
    assert api.bells.frames == []


def test_a_deadline_lets_frames_expire(database_url: str, clean_settings: Path) -> None:
    settings = settings_for(database_url, clean_settings, frames=FrameSettings(deadline_s=90))
    with serving(settings) as api, api.client() as camera:
        (frame,) = accepted(camera.post("/v1/frames", content=DATA))
        row = api.row(str(frame["id"]))
        assert row.expires_at == row.accepted_at + timedelta(seconds=90)


BAD_FIELDS = {
    "naive time": ({"captured_at": "2026-11-23T10:11:12"}, "RFC 3339"),
    "unix time": ({"captured_at": "1763892672"}, "RFC 3339"),
    "date only": ({"captured_at": "2026-11-23"}, "RFC 3339"),
    "no such day": ({"captured_at": "2026-02-30T10:11:12Z"}, "captured_at"),
    "future": ({"captured_at": "2999-01-01T00:00:00Z"}, "is not between"),
    "year one": ({"captured_at": "0001-01-01T00:00:00+14:00"}, "is not between"),
    "empty key": ({"frame_key": ""}, "frame_key"),
    "long key": ({"frame_key": "k" * 201}, "at most 200"),
    "null byte": ({"frame_key": "a\0b"}, "printable"),
    "newline": ({"part_number": "a\nb"}, "printable"),
    "other line": ({"line": "line-b"}, "stands at 'line-a'"),
    "typo": ({"frame_kay": "k"}, "frame_kay"),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_wrong_fields_are_refused_wherever_they_stand(api: RunningApi, camera: httpx2.Client, name: str) -> None:
    fields, why = BAD_FIELDS[name]
    refused(camera.post("/v1/frames", content=DATA, params=fields), 422, why)
    answer = camera.post("/v1/frames", **parts([DATA, DATA], [{}, fields]))  # type: ignore[arg-type]
    refused(answer, 422, why)
    assert api.held() == (0, [])


def test_headers_that_contradict_or_are_unknown_are_refused(api: RunningApi, camera: httpx2.Client) -> None:
    send = {"url": "/v1/frames?frame_key=a", "content": DATA}
    refused(camera.post(**send, headers={"Gistline-Frame-Key": "b"}), 422, "frame_key is given twice")  # type: ignore[arg-type]
    refused(camera.post(**send, headers={"Gistline-Frame-Kay": "b"}), 422, "'gistline-frame-kay' is unknown")  # type: ignore[arg-type]
    refused(camera.post(**send, headers={"Gistline-Line": "zé".encode()}), 422, "not ASCII")  # type: ignore[arg-type]
    assert api.held() == (0, [])


def test_the_bell_rings_after_the_commit(api: RunningApi) -> None:
    seen: list[int] = []

    class Listening:
        def ring_detect(self, frame_ids: Sequence[UUID]) -> None:
            seen.append(len(api.rows()))
            assert set(frame_ids) <= {row.id for row in api.rows()}

        def ring_report(self, window_ids: Sequence[UUID]) -> None:
            raise AssertionError(window_ids)

    assert api.key
    with transaction(api.sessions) as session:
        identity = find_camera(session, CAMERA)
    services = api.services
    submit_frames(
        identity,
        [Submitted(DATA), Submitted(DATA)],
        sessions=services.sessions,
        store=services.store,
        dispatcher=Listening(),
        settings=services.settings,
    )
    assert seen == [2]


class Breaking:
    """The real store, up to a break between the bytes and the rows."""

    def __init__(self, api: RunningApi) -> None:
        self._api = api

    def put_many(self, images: dict[str, bytes]) -> None:
        self._api.store.put_many(images)
        raise StorageUnavailable("the process stops here", cure="none")

    def __getattr__(self, name: str) -> object:
        return getattr(self._api.store, name)


def test_a_break_between_bytes_and_rows_accepts_nothing(api: RunningApi, camera: httpx2.Client) -> None:
    api.add_camera("cam-9", LINE)
    with transaction(api.sessions) as session:
        identity = find_camera(session, "cam-9")
    services = api.services
    with pytest.raises(StorageUnavailable):
        submit_frames(
            identity,
            [Submitted(DATA, frame_key="k")],
            sessions=services.sessions,
            store=Breaking(api),  # type: ignore[arg-type]
            dispatcher=api.bells,
            settings=services.settings,
        )
    assert api.held() == (0, [DIGEST])
    assert api.bells.frames == []
    (frame,) = accepted(camera.post("/v1/frames?frame_key=k", content=DATA))
    assert not frame["duplicate"]


def test_bytes_cannot_be_removed_while_they_are_accepted(api: RunningApi) -> None:
    """Whoever removes bytes holds their lock; a submission of the same bytes waits for it and stores them anew."""
    api.store.put(DIGEST, DATA)
    with ThreadPoolExecutor(1) as pool, api.client() as camera:
        with transaction(api.sessions) as session:
            hold_bytes_alone(session, [DIGEST])
            sending = pool.submit(camera.post, "/v1/frames", content=DATA)
            while not _somebody_waits(api):
                assert not sending.done()
            assert api.rows() == []
            api.store.delete(DIGEST)
        accepted(sending.result())
    assert api.store.get(DIGEST) == DATA


def _somebody_waits(api: RunningApi) -> bool:
    with transaction(api.sessions) as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")))


def test_no_image_at_all_is_refused(api: RunningApi, camera: httpx2.Client) -> None:
    refused(camera.post("/v1/frames", content=b""), 422, "Image 0: The image has 0 bytes")
    refused(camera.post("/v1/frames", data={"meta": "[]"}, files=[]), 415, "x-www-form-urlencoded")
    with transaction(api.sessions) as session:
        identity = find_camera(session, CAMERA)
    with pytest.raises(RequestRejected, match="no image"):
        submit_frames(
            identity,
            [],
            sessions=api.sessions,
            store=api.store,
            dispatcher=api.bells,
            settings=api.services.settings,
        )


@pytest.fixture
def narrow(database_url: str, clean_settings: Path) -> Iterator[RunningApi]:
    """An API with low limits."""
    limits = ApiSettings(port=0, max_images=3, max_request_bytes=100_000, receive_timeout_s=1.0)
    frames = FrameSettings(max_bytes=50_000)
    with serving(settings_for(database_url, clean_settings, api=limits, frames=frames)) as running:
        yield running


def test_limits_hold_while_the_body_arrives(narrow: RunningApi) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1_000)

    with narrow.client() as camera:
        raw = {"content": bytes(60_000)}
        refused(camera.post("/v1/frames", **raw), 413, "more than 50000 bytes (frames.max_bytes)")  # type: ignore[arg-type]
        many = parts([bytes(40_000)] * 3)
        refused(camera.post("/v1/frames", **many), 413, "more than 100000 bytes (api.max_request_bytes)")  # type: ignore[arg-type]
        few = parts([DATA] * 4)
        refused(camera.post("/v1/frames", **few), 413, "more than 3 images (api.max_images)")  # type: ignore[arg-type]
        assert len(accepted(camera.post("/v1/frames", **parts([DATA] * 3)))) == 3  # type: ignore[arg-type]
    assert len(narrow.rows()) == 3
