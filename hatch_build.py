"""Compiles flag3d_exp/models/kernels/onednn.cc when the package is built or installed.

Without a C++ compiler the package works, too: convolutions are then matrix products.
"""

import hashlib
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

KERNELS = Path("flag3d_exp/models/kernels")
FLAGS = ["-O3", "-std=c++17", "-fPIC", "-shared", "-pthread"]


class CompiledKernels(BuildHookInterface):
    """Adds the compiled library to the package, or says why there is none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; `version` is `editable` or `standard`."""
        source, library = Path(self.root) / KERNELS / "onednn.cc", KERNELS / "_onednn.so"
        target = Path(self.root) / library
        target.unlink(missing_ok=True)
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        compiler = shlex.split(os.environ.get("CXX", "c++"))
        command = [*compiler, *FLAGS, f'-DFLAG3D_SOURCE="{digest}"', str(source), "-ldl"]
        try:
            subprocess.run(
                [*command, "-o", str(target)], check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", None) or str(error)
            self.app.display_warning(f"convolutions are not compiled: {said.strip()}")
            return
        build_data["artifacts"].append(str(library))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
