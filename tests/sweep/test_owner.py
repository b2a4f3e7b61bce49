import subprocess
import sys

from flag3d_exp.sweep.owner import is_alive, this_process


def test_a_process_lives_until_it_ends():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        import psutil

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
