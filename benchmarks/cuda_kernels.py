"""The GPU's kernels beside the CPU code that they replace: ``python -m benchmarks.cuda_kernels [--json FILE]``.

Times are medians of one run on one machine, host code on one thread; what counts is the ratio of two columns. Needs an
NVIDIA GPU and PyCUDA, no TensorRT.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from gistline.detection.candidates import MOST_CANDIDATES, select
from gistline.detection.cuda_candidates import CANDIDATE, HEADER_ROWS, unpack
from gistline.detection.cuda_frames import Mode, describe, pack
from gistline.detection.cuda_kernels import Filter, Kernels
from gistline.detection.gpu_buffers import GpuSession, Stream
from gistline.detection.gpu_pipeline import Pipeline
from gistline.detection.layouts import Layout, LayoutKind
from gistline.detection.preprocess import Geometry, letterbox
from tests.support.gpu import EchoNetwork, letterbox_on_gpu, put

INPUT = (640, 640)
BATCHES = (1, 8, 32, 64)
FRAMES = {
    "grey 640x640": (640, 640),
    "RGB 720x1280": (720, 1280, 3),
    "RGB 1080x1920": (1080, 1920, 3),
    "RGB 2160x3840": (2160, 3840, 3),
}
ODD = [(1, 1), (1, 5000), (641, 639), (480, 640), (720, 1280), (1080, 1920), (1300, 1300), (1919, 1081), (2160, 3840)]
LAYOUT = Layout(LayoutKind.ANCHOR_FREE, 6, 8400)
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="leave out the other tables")
    given = parser.parse_args()
    session = GpuSession(import_module("pycuda.driver"))
    result: Row = {"gpu": session.name, "capability": session.capability, "opencv": cv2.__version__}
    for name in given.only:
        title, measure = PARTS[name]
        result[name] = table(title, measure(session))
    session.close()
    if given.json:
        given.json.write_text(json.dumps(result, indent=2))


def table(title: str, rows: list[Row]) -> list[Row]:
    print(f"\n== {title}")
    widths = [max(len(name), *(len(shown(row[name])) for row in rows)) for name in rows[0]]
    print("  ".join(name.rjust(width) for name, width in zip(rows[0], widths, strict=True)))
    for row in rows:
        print("  ".join(shown(value).rjust(width) for value, width in zip(row.values(), widths, strict=True)))
    return rows


def shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def wall_ms(work: Callable[[], object], *, least: int = 5, seconds: float = 0.6) -> float:
    """Median of one call in milliseconds, after one to warm up."""
    work()
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < least or (time.perf_counter() - begin < seconds and len(times) < 200):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def gpu_ms(driver: Any, stream: Stream, work: Callable[[], object], *, count: int = 50) -> float:
    """Median time that the GPU takes for what one call queues, in milliseconds."""
    times = []
    for _ in range(count):
        begin, end = driver.Event(), driver.Event()
        begin.record(stream)
        work()
        end.record(stream)
        end.synchronize()
        times.append(begin.time_till(end))
    return float(statistics.median(times[count // 5 :]))


def frames(shape: tuple[int, ...], count: int) -> list[NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def errors(session: GpuSession) -> list[Row]:
    found: dict[str, list[tuple[float, float]]] = {}
    for size in ODD:
        for shape in (size, (*size, 3)):
            [image] = frames(shape, 1)
            result = letterbox_on_gpu(session, [image], INPUT)[0]
            boxed, _ = letterbox(image, INPUT)
            difference = np.abs(result * 255 - boxed.transpose(2, 0, 1))
            mode = Mode(describe([image], INPUT).rows["mode"][0]).name
            found.setdefault(mode, []).append((float(difference.max()), float((difference > 0.5).mean())))
    return [
        {
            "scaling": mode,
            "frames": len(seen),
            "largest": round(max(one[0] for one in seen), 4),
            "share that differs": max(one[1] for one in seen),
        }
        for mode, seen in found.items()
    ]


def letterbox_times(session: GpuSession) -> list[Row]:
    cv2.setNumThreads(1)
    rows = []
    for name, shape in FRAMES.items():
        for batch in BATCHES:
            if batch * int(np.prod(shape)) > 500_000_000:
                continue
            rows.append({"frames": name, "batch": batch, **one_letterbox(session, frames(shape, min(batch, 8)), batch)})
    return rows


def one_letterbox(session: GpuSession, images: list[NDArray[np.uint8]], batch: int) -> Row:
    images = [images[i % len(images)] for i in range(batch)]
    target = np.empty((batch, 3, *INPUT), np.float32)

    def on_the_cpu() -> None:
        for place, image in zip(target, images, strict=True):
            np.divide(letterbox(image, INPUT)[0].transpose(2, 0, 1), np.float32(255), out=place)

    driver: Any = session.driver
    described = describe(images, INPUT)
    with session.current():
        kernels = Kernels(session, LAYOUT, float16_in=False, float16_out=False)
        stream = session.stream()
        host = session.pinned_block(described.size)
        blocks = [session.device_block(size) for size in (described.size, target.nbytes)]
        rows_at = put(session, described.rows.view(np.uint8))
        pixels = host.view(np.uint8, described.size)

        def kernel() -> None:
            places = blocks[0].address, rows_at, blocks[1].address
            kernels.letterbox(*places, batch=batch, size=INPUT, stream=stream)

        def with_copies() -> None:
            pack(images, describe(images, INPUT), pixels)
            driver.memcpy_htod_async(blocks[0].address, pixels, stream)
            kernel()
            stream.synchronize()

        row: Row = {"CPU": wall_ms(on_the_cpu), "kernel": gpu_ms(driver, stream, kernel)}
        row["packed, uploaded, kernel"] = wall_ms(with_copies)
        for block in (host, *blocks):
            session.release(block)
    return {**row, "CPU / GPU": row["CPU"] / row["packed, uploaded, kernel"]}


def filter_times(session: GpuSession) -> list[Row]:
    return [
        {"batch": batch, "candidates": share, **one_filter(session, batch, share)}
        for share in (20, 300)
        for batch in BATCHES
    ]


def one_filter(session: GpuSession, batch: int, wanted: int) -> Row:
    """``wanted`` candidates an image, as a board with a few defects and one full of them give."""
    random = np.random.default_rng(0)
    raw = random.uniform(0, 0.2, (batch, LAYOUT.values, 8400)).astype(np.float32)
    raw[:, 4, random.permutation(8400)[:wanted]] = 0.9
    geometries = [Geometry(640, 640, 1.0, 1.0, 0, 0)] * batch
    driver: Any = session.driver
    with session.current():
        kernels = Kernels(session, LAYOUT, float16_in=False, float16_out=False)
        stream = session.stream()
        header_size = HEADER_ROWS * batch * 4
        sizes = batch * 8400 * CANDIDATE.itemsize, header_size, batch * MOST_CANDIDATES * CANDIDATE.itemsize
        places = Filter(put(session, raw), *(session.device_block(size).address for size in sizes))
        raw_home = session.pinned_block(raw.nbytes).view(np.float32, raw.size)
        header = session.pinned_block(header_size).view(np.int32, HEADER_ROWS * batch)
        packed = session.pinned_block(batch * wanted * CANDIDATE.itemsize).view(CANDIDATE, batch * wanted)

        def kernel() -> None:
            kernels.select(places, batch=batch, min_confidence=0.25, stream=stream)

        def on_the_cpu() -> None:
            driver.memcpy_dtoh_async(raw_home, places.raw, stream)
            stream.synchronize()
            for one in raw_home.reshape(raw.shape):
                select(one, LAYOUT, 0.25)

        def on_the_gpu() -> None:
            kernel()
            driver.memcpy_dtoh_async(header, places.header, stream)
            driver.memcpy_dtoh_async(packed.view(np.uint8), places.packed, stream)
            stream.synchronize()
            unpack(header.reshape(HEADER_ROWS, batch), packed, geometries, LAYOUT)

        row = {"CPU": wall_ms(on_the_cpu), "kernels": gpu_ms(driver, stream, kernel), "GPU": wall_ms(on_the_gpu)}
    return {**row, "CPU / GPU": row["CPU"] / row["GPU"], "bytes back": header_size + packed.nbytes}


def copy_times(session: GpuSession) -> list[Row]:
    driver: Any = session.driver
    size = 32 * 1080 * 1920 * 3
    with session.current():
        stream = session.stream()
        target = session.device_block(size).address
        pinned = session.pinned_block(size).view(np.uint8, size)
        pageable = np.ones(size, np.uint8)
        pinned[...] = 1

        def upload(source: NDArray[Any]) -> Callable[[], None]:
            def work() -> None:
                driver.memcpy_htod_async(target, source, stream)
                stream.synchronize()

            return work

        times = {"pinned": wall_ms(upload(pinned)), "pageable": wall_ms(upload(pageable))}
    return [{"memory": name, "ms": ms, "GB/s": size / ms / 1e6} for name, ms in times.items()]


def pipeline_rates(session: GpuSession) -> list[Row]:
    rows = []
    for name, shape in list(FRAMES.items())[:3]:
        for batch in (1, 8, 32):
            pipeline = Pipeline(session, EchoNetwork(session, INPUT, batch))
            # No pixel exceeds 200 of 255, so nothing is found and the host's part is smallest.
            images = [np.minimum(image, 200) for image in frames(shape, 32)]
            ms = wall_ms(lambda images=images, pipeline=pipeline: list(pipeline.stream(images * 4, 0.9)), least=3)  # type: ignore[misc]
            pipeline.close()
            rows.append({"frames": name, "batch": batch, "frames/s": 128e3 / ms})
    return rows


PARTS: dict[str, tuple[str, Callable[[GpuSession], list[Row]]]] = {
    "errors": ("Difference from OpenCV, in levels of 255", errors),
    "letterbox": ("Letterbox, normalise and layout, ms a batch", letterbox_times),
    "filter": ("Candidates of [10, 8400] at 0.25, ms a batch", filter_times),
    "copies": ("Upload of 32 RGB frames 1080x1920", copy_times),
    "pipeline": ("Whole pipeline around a network that costs nothing", pipeline_rates),
}

if __name__ == "__main__":
    main()
