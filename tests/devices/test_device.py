import os
import subprocess
import sys

import mindspore as ms
import numpy as np
import pytest
from networks import classifier

from flag3d_exp.devices import device as flag3d_device
from flag3d_exp.devices.device import Device, description, set_environment
from flag3d_exp.devices.processor import Processor
from flag3d_exp.errors import UserError
from flag3d_exp.models.stgcn import STGCN


def test_auto_takes_what_is_there():
    expected = "CPU"
    for name in ("GPU", "Ascend"):
        expected = name if ms.hal.is_available(name) else expected
    # A process of its own: MindSpore takes no device once a kernel has run.
    code = "from flag3d_exp.devices.device import Device; print(Device('auto').activate())"
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
    for name in ("matmul_allow_hf32", "conv_allow_hf32"):
        monkeypatch.setattr(ms.device_context.ascend.op_precision, name, lambda on: None)
    assert Device("auto", id=3).activate() == "Ascend"
    assert chosen == [("Ascend", 3)]


def test_the_environment_keeps_what_the_user_set(monkeypatch):
    monkeypatch.setenv("GLOG_v", "1")
    monkeypatch.setenv("MS_COMPILER_CACHE_ENABLE", "1")
    set_environment()
    assert os.environ["GLOG_v"] == "1"  # noqa: SIM112
    assert os.environ["MS_COMPILER_CACHE_ENABLE"] == "0"  # gives wrong numbers on CPU


def test_the_processor_is_described_with_its_cores():
    assert str(os.cpu_count()) in description("CPU")
    assert description("GPU") == "GPU"


@pytest.mark.parametrize(
    ("sets", "mode", "said"),
    [
        (("avx512f", "amx_bf16"), "BF16", "products in bfloat16"),
        (("avx512f", "avx512_bf16"), "STRICT", "no AMX for device.tf32"),
    ],
)
def test_tf32_on_a_processor_means_products_in_bfloat16_if_it_has_amx(
    monkeypatch, sets, mode, said
):
    monkeypatch.setattr(flag3d_device, "processor", lambda: Processor("one", 2, sets))
    monkeypatch.setenv("ONEDNN_DEFAULT_FPMATH_MODE", "ANY")
    set_environment(tf32=True)
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == mode
    assert said in description("CPU", tf32=True) and said not in description("CPU")
    set_environment()
    assert os.environ["ONEDNN_DEFAULT_FPMATH_MODE"] == "STRICT"
    assert description("GPU", tf32=True) == "GPU, products in TF32"


def test_lowered_precision_is_near_and_keeps_weights_and_gradients_in_float32():
    keypoints = ms.Tensor(np.random.default_rng(0).standard_normal((2, 1, 8, 25, 3), np.float32))
    logits = {}
    for precision in ("fp32", "fp16"):
        ms.set_seed(0)
        network = classifier(STGCN, 5, "nturgb+d", base_channels=4, num_blocks=2, widen_at=[2])
        model = Device("cpu", precision=precision).lowered_model(network)
        logits[precision] = model(keypoints).asnumpy()
        slope = ms.value_and_grad(lambda x, f=model: f(x).sum(), None, model.trainable_params())
        _, gradients = slope(keypoints)
        assert {p.dtype for p in model.get_parameters()} == {ms.float32}
        assert {gradient.dtype for gradient in gradients} == {ms.float32}
    difference = np.abs(logits["fp16"] - logits["fp32"]).max()
    assert 0 < difference < 0.02 * np.abs(logits["fp32"]).max()


def test_bf16_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="device.precision=bf16"):
        Device("cpu", precision="bf16").activate()


def test_an_accelerator_gets_its_settings(monkeypatch):
    settings = {}
    monkeypatch.setattr(ms.hal, "is_available", lambda name: name == "Ascend")
    monkeypatch.setattr(ms, "set_device", lambda *arguments: settings.update(device=arguments))
    monkeypatch.setattr(ms, "set_context", settings.update)
    monkeypatch.setattr(ms, "set_deterministic", lambda on: settings.update(deterministic=on))
    monkeypatch.setattr(ms.runtime, "set_memory", lambda max_size: settings.update(memory=max_size))
    precision = ms.device_context.ascend.op_precision
    for name in ("matmul_allow_hf32", "conv_allow_hf32"):
        monkeypatch.setattr(precision, name, lambda on, name=name: settings.update({name: on}))
    device = Device("ascend", id=5, jit_level="O1", tf32=True, memory_gb=30, deterministic=True)
    assert device.activate() == "Ascend"
    assert settings == {
        "device": ("Ascend", 5),
        "deterministic": True,
        "jit_config": {"jit_level": "O1"},
        "memory": "30GB",
        "matmul_allow_hf32": True,
        "conv_allow_hf32": True,
    }


def test_a_second_limit_of_memory_is_refused(monkeypatch):
    monkeypatch.setattr(ms.hal, "is_available", lambda name: name == "Ascend")
    monkeypatch.setattr(ms, "set_device", lambda *arguments: None)

    def refuse(**sizes):
        raise RuntimeError("The 'set_memory' can not be set repeatedly.")

    monkeypatch.setattr(ms.runtime, "set_memory", refuse)
    with pytest.raises(UserError, match=r"`device.memory_gb=7`: this process has another limit"):
        Device("ascend", memory_gb=7).activate()


def test_the_caller_of_a_compiled_update_sleeps_while_it_is_computed(tmp_path, monkeypatch):
    monkeypatch.delenv("MS_DEV_HOST_BLOCKING_RUN")
    code = """
import time
import mindspore as ms
import numpy as np
from flag3d_exp.devices.device import Device

weight = ms.Parameter(ms.Tensor(np.random.rand(2048, 256).astype(np.float32)), name="weight")

def loss(x):
    y = x * weight
    for _ in range(20):
        y = ms.ops.sort(y, 0)[0]
    return y.sum()

@ms.jit
def update(x):
    value, (gradient,) = ms.value_and_grad(loss, None, [weight])(x)
    ms.ops.assign(weight, weight - gradient)
    return value

Device("cpu").activate()
x = ms.Tensor(np.ones((2048, 256), np.float32))
update(x).asnumpy()
began, used = time.perf_counter(), time.thread_time()
for _ in range(3):
    update(x).asnumpy()
print((time.thread_time() - used) / (time.perf_counter() - began))
"""
    script = tmp_path / "script.py"  # the compiler reads the source
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 0.05


def test_a_short_evaluation_is_not_compiled_unless_asked_for():
    auto = Device("cpu")
    assert auto.compiles() and auto.compiles(1000)
    assert not auto.compiles(3)
    assert Device("cpu", jit=True).compiles(1)
    assert not Device("cpu", jit=False).compiles()
