"""The supervisor of several instances: restarts, its limits, and the end. Instances here are short scripts."""

import asyncio
import os
import signal
import sys

import pytest
from click.testing import CliRunner
from rigatoni_core.api.exit_codes import ExitCode
from rigatoni_core.cli.application import Terminal
from rigatoni_core.cli.plugins import plugins
from rigatoni_ops import supervisor as module
from rigatoni_ops.supervisor import Supervisor

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and sockets are those of POSIX")


class Lines:
    """A log that keeps what is logged."""

    def __init__(self):
        self.lines = []

    def info(self, event, **fields):
        self.lines.append((event, fields))

    error = info

    def count(self, event):
        return sum(each == event for each, _ in self.lines)


@pytest.fixture
def log():
    return Lines()


@pytest.fixture
def supervise(monkeypatch, log):
    """Runs as many instances as there are scripts. Each script knows its number as `sys.argv[1]`."""
    monkeypatch.setattr(module, "delay_after", lambda crashes: 0.0)
    monkeypatch.setattr(module, "OPENING_TIMEOUT", 0.05)

    def make(*scripts, **options):
        monkeypatch.setattr(
            module, "_command", lambda label: [sys.executable, "-S", "-E", "-c", scripts[int(label[0]) - 1], label]
        )
        settings = {"timeout": None, "shutdown_timeout": 0.1, "reloads": True} | options
        return Supervisor(Terminal(), len(scripts), log, **settings)

    return make


WAITS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
time.sleep(60)
"""
HANGS = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("hangs", "w").close()
time.sleep(60)
"""


def ends(code):
    return f"raise SystemExit({code})"


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("codes", "worst"), [((0, 0), 0), ((0, 5), 5), ((1, 5), 1), ((3, 6), 3)])
async def test_the_worst_exit_code_counts_and_decisions_are_not_repeated(supervise, log, codes, worst, monkeypatch):
    monkeypatch.setattr(module, "OPENING_TIMEOUT", 0.0)
    assert await supervise(*map(ends, codes)).run() == worst
    assert log.count("instance started") == 2


async def test_others_do_not_start_if_the_first_cannot(supervise, log, monkeypatch):
    monkeypatch.setattr(module, "OPENING_TIMEOUT", 20.0)
    assert await supervise(ends(3), WAITS).run() == ExitCode.CANNOT_START
    assert log.count("instance started") == 1


@pytest.mark.parametrize("code", [ExitCode.BUG, ExitCode.ABANDONED, 9, 128 + signal.SIGINT, 128 + signal.SIGKILL])
async def test_a_crash_loop_ends_with_its_code(supervise, log, code, monkeypatch):
    monkeypatch.setattr(module, "OPENING_TIMEOUT", 20.0)
    script = f"import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), {code - 128})"
    script = script if code > 128 else ends(int(code))
    assert await supervise(script, WAITS).run() == code
    assert log.count("instance started") == module.QUICK_CRASHES
    assert log.lines[-1] == ("instance not restarted", {"instance": "1/2", "exit_code": code, "crashes": 5})


async def test_crashes_that_are_far_apart_are_never_too_many(supervise, log, monkeypatch):
    monkeypatch.setattr(module, "HEALTHY_AFTER", 0.0)
    supervisor = supervise(ends(70))
    task = asyncio.create_task(supervisor.run())
    await until(lambda: log.count("instance started") > 2 * module.QUICK_CRASHES)
    supervisor._stop()
    await task
    assert log.count("instance not restarted") == 0


async def test_a_stop_ends_all_also_one_that_waits_for_its_restart(supervise, log, monkeypatch):
    monkeypatch.setattr(module, "delay_after", lambda crashes: 60.0)
    supervisor = supervise(WAITS, ends(70), WAITS)
    task = asyncio.create_task(supervisor.run())
    await until(lambda: log.count("instance crashed") == 1 and log.count("instance started") == 3)
    supervisor._stop()
    assert await task == ExitCode.DONE


async def test_an_instance_that_hangs_is_killed_after_the_limits(supervise, log, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "GRACE", 0.1)
    monkeypatch.chdir(tmp_path)
    supervisor = supervise(HANGS)
    task = asyncio.create_task(supervisor.run())
    await until((tmp_path / "hangs").exists)
    supervisor._stop()
    assert await task == ExitCode.ABANDONED


async def test_the_timeout_also_holds_for_instances_that_were_restarted(supervise, monkeypatch):
    monkeypatch.setattr(module, "GRACE", 0.1)
    assert await supervise(WAITS, timeout=0.2).run() == ExitCode.TIMED_OUT


def test_the_command_line_is_that_of_this_process(monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "/bin/rigatoni", "run", "p.toml", "--once"])
    monkeypatch.setattr(sys, "argv", ["/bin/rigatoni", "run", "p.toml", "--once"])
    expected = [sys.executable, "-X", "dev", "/bin/rigatoni", "run", "--instance", "2/4", "p.toml", "--once"]
    assert module._command("2/4") == expected


def test_the_list_of_plugins_leaves_the_hidden_command_out():
    listed = CliRunner().invoke(plugins, ["list"], obj=Terminal()).output
    assert "command snapshot" in listed
    assert "supervise" not in listed
