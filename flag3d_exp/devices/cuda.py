"""Make CUDA 11 from the wheels of the extra `gpu` available to MindSpore's GPU plugin.

MindSpore 2.10 loads its GPU plugin only if `$CUDA_HOME/bin/nvcc --version` names a release, and
chooses the plugin by this release. The plugin needs only the libraries below from a toolkit, by
name. So they are loaded beforehand, and CUDA_HOME is a folder with an `nvcc` that prints the
release.
"""

import atexit
import ctypes
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

RELEASE = (
    "11.6"  # newest release with a MindSpore plugin; 11.8 of the wheels has the same interface
)
DRIVER = "libcuda.so.1"
LIBRARIES = (  # by package, each after its dependencies
    ("cuda_runtime", "libcudart.so.11.0"),
    ("cuda_nvrtc", "libnvrtc.so.11.2"),
    ("cublas", "libcublasLt.so.11"),
    ("cublas", "libcublas.so.11"),
    ("curand", "libcurand.so.10"),
    ("cufft", "libcufft.so.10"),
    ("cusparse", "libcusparse.so.11"),
    ("cusolver", "libcusolver.so.11"),
    ("cudnn", "libcudnn.so.8"),
    ("cudnn", "libcudnn_ops_infer.so.8"),
    ("cudnn", "libcudnn_ops_train.so.8"),
    ("cudnn", "libcudnn_cnn_infer.so.8"),
    ("cudnn", "libcudnn_cnn_train.so.8"),
    ("cudnn", "libcudnn_adv_infer.so.8"),
    ("cudnn", "libcudnn_adv_train.so.8"),
)


def prepare() -> bool:
    """Let MindSpore use the wheels' CUDA, before its import; return whether that was done.

    Nothing is done if the user has set CUDA_HOME, if there is no driver, or if the wheels are not
    installed.
    """
    if "CUDA_HOME" in os.environ or not has_driver():
        return False
    libraries = installed_libraries()
    if libraries is None:
        return False
    for library in libraries:
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
    os.environ["CUDA_HOME"] = str(cuda_home(RELEASE))
    # Only for `ldd`, by which MindSpore checks versions.
    folders = dict.fromkeys(str(library.parent) for library in libraries)
    known = [os.environ["LD_LIBRARY_PATH"]] if os.environ.get("LD_LIBRARY_PATH") else []
    os.environ["LD_LIBRARY_PATH"] = ":".join([*folders, *known])
    return True


def installed_libraries() -> list[Path] | None:
    """The libraries of the extra `gpu`, in the order to load them; None if one is missing."""
    spec = find_spec("nvidia")
    roots: Sequence[str] = (spec and spec.submodule_search_locations) or ()
    found: list[Path] = []
    for package, name in LIBRARIES:
        candidates = [Path(root) / package / "lib" / name for root in roots]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            return None
        found.append(path)
    return found


def cuda_home(release: str) -> Path:
    """A temporary folder for CUDA_HOME, whose `bin/nvcc` prints the release."""
    folder = Path(mkdtemp(prefix="flag3d_exp-cuda-"))
    atexit.register(rmtree, folder, ignore_errors=True)
    nvcc = folder / "bin" / "nvcc"
    nvcc.parent.mkdir()
    nvcc.write_text(f'#!/bin/sh\necho "Cuda compilation tools, release {release}, V{release}.0"\n')
    nvcc.chmod(0o755)
    return folder


def has_driver() -> bool:
    """Whether NVIDIA's driver is installed, without which there is no GPU."""
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True
