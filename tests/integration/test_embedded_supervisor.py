"""The supervisor: what dies is started again, and nothing outlives it, whichever way it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gistline.embedded.processes import Program, spawn, stop
from gistline.embedded.supervisor import Patience, Supervisor
from tests.support.processes import is_alive, read_line, running_script, wait_until

QUICK = Patience(grace_s=1.0, backoff_s=0.05, longest_backoff_s=0.2)

SLEEPS = "import time; print('up', flush=True); time.sleep(600)"

WRITES_AT_SIGTERM = """
import os, pathlib, signal, sys, time

def leave(*_):
    with open(sys.argv[1], "a") as file:
        file.write(f"{sys.argv[2]} {os.getpid()}\\n")
    sys.exit(0)

signal.signal(signal.SIGTERM, leave)
print("up", flush=True)
time.sleep(600)
"""

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"

STUBBORN_WITH_A_CHILD = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", deaf])
print(child.pid, flush=True)
time.sleep(600)
"""

LEAVES_SLOWLY = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(1), sys.exit(0)))
print("up", flush=True)
time.sleep(600)
"""

CLEANS_UP = """
import time
from gistline.embedded.processes import termination_raises

with termination_raises():
    try:
        print("ready", flush=True)
        time.sleep(600)
    finally:
        print("cleaning", flush=True)
        time.sleep(0.5)
        print("cleaned", flush=True)
"""

OWNER = """
import sys, time
from pathlib import Path
from gistline.embedded.processes import Program, termination_raises
from gistline.embedded.supervisor import Patience, Supervisor

logs, ending = Path(sys.argv[1]), sys.argv[2]
child = (sys.executable, "-c", sys.argv[3])
with termination_raises(), Supervisor(Patience(grace_s=5.0)) as supervisor:
    for name in ("one", "two"):
        supervisor.start(Program(name, child, logs / f"{name}.log"))
    while not all((logs / f"{name}.log").read_text() for name in ("one", "two")):
        time.sleep(0.02)
    print("ready", *supervisor.pids().values(), flush=True)
    if ending == "raise":
        raise RuntimeError("as planned")
    supervisor.wait()
"""


def program(name: str, source: str, folder: Path, *arguments: str) -> Program:
    return Program(name, (sys.executable, "-c", source, *arguments), folder / f"{name}.log")


def said(folder: Path, name: str) -> str:
    """What a program has printed so far."""
    log = folder / f"{name}.log"
    return log.read_text() if log.exists() else ""


def test_a_killed_program_is_started_again_and_counted(tmp_path: Path) -> None:
    events: list[str] = []
    with Supervisor(QUICK, on_event=events.append) as supervisor:
        supervisor.start(program("worker", SLEEPS, tmp_path))
        wait_until(lambda: said(tmp_path, "worker").count("up") == 1, "the program runs")
        first = supervisor.pids()["worker"]
        assert supervisor.restarts() == {"worker": 0}
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: said(tmp_path, "worker").count("up") == 2, "the program runs again")
        assert supervisor.pids()["worker"] != first
        assert supervisor.restarts() == {"worker": 1}
    assert events == ["worker was ended by SIGKILL; restart 1 in 0.05 s"]
    assert supervisor.pids() == {}


def test_a_program_that_cannot_be_started_for_a_moment_costs_no_other(tmp_path: Path) -> None:
    events: list[str] = []
    log = tmp_path / "worker.log"
    with Supervisor(QUICK, on_event=events.append) as supervisor:
        for name in ("worker", "other"):
            supervisor.start(program(name, SLEEPS, tmp_path))
        wait_until(lambda: "up" in said(tmp_path, "worker"), "the program runs")
        other = supervisor.pids()["other"]
        log.unlink()
        log.mkdir()
        os.kill(supervisor.pids()["worker"], signal.SIGKILL)
        wait_until(lambda: any("cannot be started" in event for event in events), "a start fails")
        log.rmdir()
        wait_until(lambda: "up" in said(tmp_path, "worker"), "the program runs again")
        assert supervisor.pids()["other"] == other


def test_the_pause_grows_while_a_program_keeps_ending(tmp_path: Path) -> None:
    events: list[str] = []
    with Supervisor(QUICK, on_event=events.append) as supervisor:
        supervisor.start(program("worker", "raise SystemExit(3)", tmp_path))
        wait_until(lambda: supervisor.failures()["worker"] >= 4, "the program ends four times")
    pauses = [event.rpartition(" in ")[2] for event in events]
    assert pauses[:4] == ["0.05 s", "0.1 s", "0.2 s", "0.2 s"]
    assert all(event.startswith("worker ended with exit code 3; restart ") for event in events)


def test_a_settled_program_starts_with_the_short_pause_again(tmp_path: Path) -> None:
    events: list[str] = []
    patience = Patience(grace_s=1.0, backoff_s=0.05, settled_s=0.0)
    with Supervisor(patience, on_event=events.append) as supervisor:
        supervisor.start(program("worker", "raise SystemExit(0)", tmp_path))
        wait_until(lambda: len(events) >= 3, "the program ends three times")
    assert {event.rpartition(" in ")[2] for event in events} == {"0.05 s"}


def test_all_are_asked_to_leave_the_restarted_too(tmp_path: Path) -> None:
    leaving = tmp_path / "leaving"
    with Supervisor(Patience(grace_s=20.0, backoff_s=0.05)) as supervisor:
        for name in ("first", "second"):
            supervisor.start(program(name, WRITES_AT_SIGTERM, tmp_path, str(leaving), name))
            wait_until(lambda name=name: "up" in said(tmp_path, name), f"{name} runs")  # type: ignore[misc]
        os.kill(supervisor.pids()["second"], signal.SIGKILL)
        wait_until(lambda: said(tmp_path, "second").count("up") == 2, "second runs again")
        pids = supervisor.pids()
    assert sorted(leaving.read_text().splitlines()) == [f"first {pids['first']}", f"second {pids['second']}"]
    assert not any(map(is_alive, pids.values()))


def test_a_stubborn_program_is_killed_with_its_own_children(tmp_path: Path) -> None:
    with Supervisor(Patience(grace_s=0.3)) as supervisor:
        supervisor.start(program("stubborn", STUBBORN_WITH_A_CHILD, tmp_path))
        wait_until(lambda: said(tmp_path, "stubborn").strip().isdigit(), "the program has a child")
        pids = [supervisor.pids()["stubborn"], int(said(tmp_path, "stubborn"))]
        assert all(map(is_alive, pids))
    wait_until(lambda: not any(map(is_alive, pids)), "both are gone")


def test_a_crashed_program_s_children_do_not_live_beside_its_successor(tmp_path: Path) -> None:
    with Supervisor(QUICK) as supervisor:
        supervisor.start(program("parent", STUBBORN_WITH_A_CHILD, tmp_path))
        wait_until(lambda: said(tmp_path, "parent").endswith("\n"), "the program has a child")
        child = int(said(tmp_path, "parent"))
        os.kill(supervisor.pids()["parent"], signal.SIGKILL)
        wait_until(lambda: not is_alive(child), "the orphan is gone")


def test_names_are_unique_and_a_stopped_supervisor_starts_nothing(tmp_path: Path) -> None:
    with Supervisor(QUICK) as supervisor:
        supervisor.start(program("worker", SLEEPS, tmp_path))
        with pytest.raises(ValueError, match="'worker' runs already"):
            supervisor.start(program("worker", SLEEPS, tmp_path))
    supervisor.stop()
    with pytest.raises(ValueError, match="was stopped"):
        supervisor.start(program("late", SLEEPS, tmp_path))


def test_what_cannot_be_started_says_so_in_its_log(tmp_path: Path) -> None:
    with Supervisor(QUICK) as supervisor:
        supervisor.start(Program("ghost", (str(tmp_path / "ghost"),), tmp_path / "ghost.log"))
        wait_until(lambda: "No such file" in said(tmp_path, "ghost"), "the log says why")


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGINT", "SIGHUP", "raise"])
def test_nothing_outlives_an_owner_that_ends(tmp_path: Path, ending: str) -> None:
    with running_script(tmp_path / "owner.py", OWNER, str(tmp_path), ending, SLEEPS) as owner:
        children = children_of(owner)
        if ending != "raise":
            assert all(map(is_alive, children))
            owner.send_signal(signal.Signals[ending])
        assert owner.wait(30) != 0
        assert not any(map(is_alive, children))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@pytest.mark.parametrize("source", [SLEEPS, STUBBORN])
def test_nothing_outlives_an_owner_that_is_killed(tmp_path: Path, source: str) -> None:
    with running_script(tmp_path / "owner.py", OWNER, str(tmp_path), "wait", source) as owner:
        children = children_of(owner)
        assert all(map(is_alive, children))
        owner.send_signal(signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, children)), "the children end with their owner")


def test_a_second_signal_does_not_cut_the_stopping_short(tmp_path: Path) -> None:
    with running_script(tmp_path / "owner.py", OWNER, str(tmp_path), "wait", LEAVES_SLOWLY) as owner:
        children = children_of(owner)
        for _ in range(3):
            owner.send_signal(signal.SIGINT)
        owner.wait(30)
        assert not any(map(is_alive, children))


def test_signals_during_the_clean_up_do_not_break_it_off(tmp_path: Path) -> None:
    with running_script(tmp_path / "owner.py", CLEANS_UP) as owner:
        assert read_line(owner) == "ready"
        owner.send_signal(signal.SIGTERM)
        assert read_line(owner) == "cleaning"
        owner.send_signal(signal.SIGINT)
        owner.send_signal(signal.SIGTERM)
        assert read_line(owner) == "cleaned"


def test_a_stubborn_server_is_killed_after_its_signals(tmp_path: Path) -> None:
    process = spawn(program("stubborn", STUBBORN, tmp_path))
    wait_until(lambda: "up" in said(tmp_path, "stubborn"), "the program runs")
    stop(process, [signal.SIGTERM], grace_s=0.1)
    assert process.returncode == -signal.SIGKILL


def children_of(owner: subprocess.Popen[str]) -> list[int]:
    """Process ids that the script OWNER prints once both of its programs run."""
    ready, *pids = read_line(owner).split()
    assert (ready, len(pids)) == ("ready", 2)
    return [int(pid) for pid in pids]
