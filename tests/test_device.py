import os
import subprocess
import sys

import mindspore as ms
import pytest

from flag3d_exp.device import Device, description, set_environment
from flag3d_exp.errors import UserError


def test_auto_takes_what_is_there():
    expected = "CPU"
    for name in ("GPU", "Ascend"):
        expected = name if ms.hal.is_available(name) else expected
    # A process of its own: MindSpore takes no device once a kernel has run.
    code = "from flag3d_exp.device import Device; print(Device('auto').activate())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == expected


@pytest.mark.parametrize("target", ["gpu", "ascend"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(target):
    if ms.hal.is_available({"gpu": "GPU", "ascend": "Ascend"}[target]):
        pytest.skip(f"this machine has device={target}")
    with pytest.raises(UserError) as caught:
        Device(target).activate()
    assert f"`device={target}`" in str(caught.value)
    assert "device=cpu" in str(caught.value)
    assert ms.get_context("device_target") == "CPU"


def test_an_accelerator_is_taken_before_the_processor(monkeypatch):
    chosen = []
    monkeypatch.setattr(ms.hal, "is_available", lambda name: name == "Ascend")
    monkeypatch.setattr(ms, "set_device", lambda *arguments: chosen.append(arguments))
    assert Device("auto", id=3).activate() == "Ascend"
    assert chosen == [("Ascend", 3)]


def test_the_environment_keeps_what_the_user_set(monkeypatch):
    monkeypatch.setenv("GLOG_v", "1")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    set_environment()
    assert os.environ["GLOG_v"] == "1"  # noqa: SIM112
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert os.environ["MS_COMPILER_CACHE_ENABLE"] == "0"  # gives wrong numbers on CPU


def test_the_processor_is_described_with_its_cores():
    assert str(os.cpu_count()) in description("CPU")
    assert description("GPU") == "GPU"
