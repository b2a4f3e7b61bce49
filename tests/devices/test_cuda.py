import os
import subprocess
import sys

import pytest

from flag3d_exp.devices import cuda

SCRIPT = """
import ctypes
from flag3d_exp.devices import cuda
cuda.DRIVER = {driver!r}
ctypes.CDLL(cuda.DRIVER, ctypes.RTLD_GLOBAL)
assert cuda.prepare()
import mindspore
print(mindspore.hal.is_available("GPU"))
"""
DRIVER_CALLS = (
    "cuDeviceGetAttribute",
    "cuGetErrorName",
    "cuLaunchKernel",
    "cuModuleGetFunction",
    "cuModuleLoadDataEx",
    "cuModuleUnload",
    "cuStreamSynchronize",
)


def test_nvcc_names_the_release():
    nvcc = cuda.cuda_home("11.6") / "bin" / "nvcc"
    done = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
    assert "release 11.6," in done.stdout


def test_libraries_are_loaded_after_what_they_need(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvidia", raising=False)
    for package, name in cuda.LIBRARIES:
        path = tmp_path / "nvidia" / package / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "nvidia" / "__init__.py").touch()
    found = cuda.installed_libraries()
    assert found is not None
    assert [path.name for path in found] == [name for _, name in cuda.LIBRARIES]
    (tmp_path / "nvidia" / "cudnn" / "lib" / "libcudnn.so.8").unlink()
    assert cuda.installed_libraries() is None


def test_nothing_changes_without_a_driver(monkeypatch):
    monkeypatch.setattr(cuda, "DRIVER", "libno_such_driver.so.1")
    monkeypatch.delenv("CUDA_HOME", raising=False)
    before = dict(os.environ)
    assert not cuda.prepare()
    assert dict(os.environ) == before


def test_the_users_own_toolkit_is_left_alone(monkeypatch):
    monkeypatch.setenv("CUDA_HOME", "/opt/cuda")
    assert not cuda.prepare()
    assert os.environ["CUDA_HOME"] == "/opt/cuda"


@pytest.mark.skipif(cuda.installed_libraries() is None, reason="the extra `gpu` is not installed")
def test_the_plugin_loads_up_to_the_driver(tmp_path):
    source, driver = tmp_path / "driver.c", tmp_path / "libcuda.so.1"
    source.write_text("".join(f"int {name}() {{ return 100; }}\n" for name in DRIVER_CALLS))
    link = ["cc", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", driver, source]
    subprocess.run(link, check=True)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(driver=str(driver))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "True"
