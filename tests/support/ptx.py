"""The kernels' PTX, written from their sources: ``python -m tests.support.ptx FOLDER``.

The folder holds NVRTC, the compiler as a library: ``pip install --target FOLDER nvidia-cuda-nvrtc-cu11==11.8.89``. That
release knows every GPU from compute capability 6.1 to 9.0, and drivers from 520 on take what it writes.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from importlib.util import find_spec
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "gistline" / "detection" / "cuda"
NAMES = ("letterbox", "candidates")
ARCHITECTURE = "compute_61"
# Products and sums stay two roundings, as in OpenCV's code and numpy's.
OPTIONS = ("--fmad=false", "--std=c++14")
MARK = "// source sha256 "


class CompileError(Exception):
    """What the compiler said."""


class Nvrtc:
    """One loaded library."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library))

    @property
    def version(self) -> tuple[int, int]:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
        return major.value, minor.value

    def compile(self, source: Path, architecture: str) -> bytes:
        """PTX (``compute_61``) or machine code (``sm_61``) of one source.

        Raises:
            CompileError: with the compiler's log.

        """
        program = ctypes.c_void_p()
        text = source.read_bytes()
        self._library.nvrtcCreateProgram(ctypes.byref(program), text, source.name.encode(), 0, None, None)
        wanted = [f"--gpu-architecture={architecture}", *OPTIONS]
        options = (ctypes.c_char_p * len(wanted))(*(option.encode() for option in wanted))
        failed = self._library.nvrtcCompileProgram(program, len(wanted), options)
        try:
            if failed:
                raise CompileError(self._read(program, "ProgramLog").decode())
            return self._read(program, "PTX" if architecture.startswith("compute") else "CUBIN")
        finally:
            self._library.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        getattr(self._library, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        content = ctypes.create_string_buffer(size.value)
        getattr(self._library, f"nvrtcGet{what}")(program, content)
        return content.raw.rstrip(b"\0") if what != "CUBIN" else content.raw


def find_nvrtc(folder: Path | None = None) -> Path | None:
    """The library in a folder or, without one, in this environment's packages."""
    spec = None if folder else find_spec("nvidia")
    roots = [folder] if folder else [Path(place) for place in (spec.submodule_search_locations or [])] if spec else []
    found = sorted(
        path
        for root in roots
        for path in root.rglob("libnvrtc.so*")
        if "alt" not in path.name and "builtins" not in path.name
    )
    return found[0] if found else None


def digest(source: Path) -> str:
    return hashlib.sha256(source.read_bytes()).hexdigest()


def main() -> None:
    library = find_nvrtc(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    if library is None:
        sys.exit("No NVRTC there: pip install --target FOLDER nvidia-cuda-nvrtc-cu11==11.8.89")
    nvrtc = Nvrtc(library)
    for name in NAMES:
        source = SOURCES / f"{name}.cu"
        written = nvrtc.compile(source, ARCHITECTURE).decode()
        source.with_suffix(".ptx").write_text(f"{MARK}{digest(source)}\n{written}\n")


if __name__ == "__main__":
    main()
