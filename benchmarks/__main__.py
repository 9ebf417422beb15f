"""The README's numbers in one go: ``python -m benchmarks [--deeppcb FOLDER]``; about six minutes.

Without the data set the accuracy is measured on simulated boards.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deeppcb", type=Path, help="folder of the data set")
    given = parser.parse_args()
    sample = ["--deeppcb", str(given.deeppcb)] if given.deeppcb else ["--simulated", "100"]
    for module, *arguments in (["detector", *sample, "--fleet"], ["submit"], ["reporting"]):
        print(f"\n== benchmarks.{module} {' '.join(arguments)}", flush=True)
        subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *arguments], check=True)


if __name__ == "__main__":
    main()
