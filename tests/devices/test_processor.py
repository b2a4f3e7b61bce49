"""The processor's name and instruction sets."""

import pytest

from flag3d_exp.devices import processor as module
from flag3d_exp.devices.processor import processor

INTEL = """processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz
flags\t\t: fpu avx avx2 avx512f avx512_bf16 amx_bf16 amx_tile

processor\t: 1
model name\t: another
"""
ARM = """processor\t: 0
BogoMIPS\t: 200.00
Features\t: fp asimd sve bf16
"""


@pytest.mark.parametrize(
    ("text", "name", "sets"),
    [
        (INTEL, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
         ("avx2", "avx512f", "avx512_bf16", "amx_bf16")),
        (ARM, "aarch64", ("asimd", "sve", "bf16")),
        (None, "aarch64", ()),
    ],
)  # fmt: skip
def test_the_processor_is_described(text, name, sets, tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(module, "CPUINFO", path)
    monkeypatch.setattr(module.platform, "processor", lambda: "")
    monkeypatch.setattr(module.platform, "machine", lambda: "aarch64")
    found = processor()
    assert (found.name, found.instruction_sets) == (name, sets)
    assert found.num_cores >= 1
    assert str(found).startswith(f"{name}, {found.num_cores} cores, ")
