import os
import signal
import subprocess
import sys

import psutil

from flag3d_exp.sweep.owner import is_alive, process_of, this_process


def test_a_process_lives_until_it_ends():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        known = this_process() | {
            "pid": child.pid,
            "started": psutil.Process(child.pid).create_time(),
        }
        assert is_alive(known) is True
        child.kill()
        while child.poll() is None and is_alive(known):
            pass
        assert is_alive(known) is False


def test_a_later_process_with_the_same_number_is_not_the_owner():
    known = this_process()
    assert is_alive(known) is True
    assert is_alive(known | {"started": known["started"] - 60}) is False


def test_nothing_is_known_of_other_hosts():
    assert is_alive(this_process() | {"host": "elsewhere.invalid"}) is None


def test_a_suspended_process_may_be_dead_and_can_be_found():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = psutil.Process(child.pid).create_time()
        known = this_process() | {"pid": child.pid, "started": started}
        child.send_signal(signal.SIGSTOP)
        os.waitpid(child.pid, os.WUNTRACED)
        assert is_alive(known) is None
        found = process_of(known)
        assert found is not None and found.pid == child.pid
        assert process_of(known | {"started": started - 60}) is None
        assert process_of(known | {"host": "elsewhere.invalid"}) is None
        child.kill()
