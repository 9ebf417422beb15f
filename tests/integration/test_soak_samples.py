"""The samples of the soak, on the tables as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import SecretStr

from benchmarks.soak_samples import TABLES, Sampler
from gistline.storage.session import Sessions


def test_every_value_of_a_sample_is_a_plain_number(sessions: Sessions, redis_server_url: str, tmp_path: Path) -> None:
    redis = SimpleNamespace(url=SecretStr(redis_server_url))
    rig: Any = SimpleNamespace(
        sessions=sessions, pids={"me": os.getpid()}, settings=SimpleNamespace(data_dir=tmp_path, redis=redis)
    )
    crew: Any = SimpleNamespace(pids=dict)
    (tmp_path / "frames").mkdir()
    sample = Sampler(rig, crew).take(thorough=True)
    assert json.loads(json.dumps(sample)) == sample
    assert {f"{table}.live" for table in TABLES} <= sample.keys()
    assert {"me.uss_mb", "queue.pending", "db.mb", "redis.used_mb"} <= sample.keys()
