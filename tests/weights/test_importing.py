"""Published weight files fitted to our models; damaged and malicious ones refused."""

import json
import os
import pickle
import re
import shutil
import zipfile

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from models.oracle import Oracle
from networks import classifier

from flag3d_exp.engine.parameters import assign_parameters
from flag3d_exp.errors import UserError
from flag3d_exp.models.aagcn import AAGCN
from flag3d_exp.models.blockgcn import BlockGCN
from flag3d_exp.models.ctrgcn import CTRGCN
from flag3d_exp.models.posec3d import PoseC3D
from flag3d_exp.models.protogcn import ProtoGCN
from flag3d_exp.models.skateformer import SkateFormer
from flag3d_exp.models.x3d_shallow import X3DShallow
from flag3d_exp.weights.importing import fitted_values, read_source, rules_of
from flag3d_exp.weights.names import from_mindspore, from_torch, source_names

SMALL = "posec3d_x3d_shallow"


@pytest.fixture
def files(shared):
    return shared / "parity/pth"


@pytest.mark.parametrize(
    ("file", "fixture", "build"),
    [
        ("posec3d_x3d_shallow.pth", SMALL, lambda: classifier(X3DShallow, 60, "coco")),
        ("posec3d_x3d_shallow_bare.pth", SMALL, lambda: classifier(X3DShallow, 60, "coco")),
        ("ctrgcn.pth", "ctrgcn", lambda: classifier(CTRGCN, 60, "nturgb+d")),
        ("flag3d_agcn_3d.ckpt", "aagcn", lambda: classifier(AAGCN, 60, "nturgb+d")),
        ("flag3d_posec3d_2d.ckpt", "posec3d_slowonly", lambda: classifier(PoseC3D, 60, "coco")),
    ],
)
def test_an_imported_file_gives_the_logits_of_its_network(shared, files, file, fixture, build):
    arrays = np.load(shared / f"parity/{fixture}.npz")
    model = build().set_train(False)
    parameters = list(model.get_parameters())
    source = read_source(files / file)
    assign_parameters(parameters, fitted_values(model, source, False))
    if "input" in arrays:
        logits = model(Tensor(arrays["input"]))
    else:
        volumes = arrays["input_u8"].astype(np.float32) / 256
        frames = volumes.transpose(0, 2, 1, 3, 4).reshape(-1, 17, *volumes.shape[3:])
        logits = model.head(model.backbone.volume_features(Tensor(frames), volumes.shape[2]))
    np.testing.assert_allclose(logits.asnumpy(), arrays["logits"], atol=1e-4)


def test_the_published_names_of_all_five_released_networks_are_known(shared):
    text = (shared / "parity/flag3d_checkpoint_names.json").read_text(encoding="utf-8")
    for published in json.loads(text)["maps"].values():
        found = from_mindspore({name: np.zeros(1) for name in published.values()})
        assert sorted(found) == sorted(published)


def test_every_tensor_is_accounted_for(files):
    model = classifier(X3DShallow, 60, "coco")
    source = read_source(files / f"{SMALL}.pth")
    del source["backbone.conv5.conv.weight"]
    source["backbone.conv6.conv.weight"] = np.zeros(3)
    source["cls_head.fc_cls.bias"] = np.zeros(7)
    with pytest.raises(UserError) as raised:
        fitted_values(model, source, skip_head=False)
    message = str(raised.value)
    assert "missing 1: backbone.conv5.conv.weight" in message
    assert "unexpected 1: backbone.conv6.conv.weight" in message
    assert "of another shape 1: cls_head.fc_cls.bias (7,), not (60,)" in message


def test_parts_of_one_weight_that_do_not_fit_each_other_are_refused(files):
    model = classifier(CTRGCN, 60, "nturgb+d")
    source = read_source(files / "ctrgcn.pth")
    source["backbone.net.3.gcn1.convs.1.conv3.weight"] = np.zeros((64, 3, 1, 1))
    with pytest.raises(UserError, match=r"another shape 1: backbone.net.3.gcn1.convs.0.conv3"):
        fitted_values(model, source, skip_head=False)


def test_the_head_can_be_left_out(files):
    model = classifier(X3DShallow, 12, "coco")
    source = read_source(files / f"{SMALL}.pth")
    with pytest.raises(UserError, match="`task.head=skip` leaves the head out"):
        fitted_values(model, source, skip_head=False)
    values = fitted_values(model, source, skip_head=True)
    np.testing.assert_array_equal(values["head.weight"], model.head.weight.asnumpy())
    np.testing.assert_array_equal(
        values["network.last.norm.weight"], source["backbone.conv5.bn.weight"]
    )


def test_weights_that_are_not_finite_are_refused(files):
    model = classifier(X3DShallow, 60, "coco")
    source = read_source(files / f"{SMALL}.pth")
    source["backbone.conv5.bn.bias"][3] = np.nan
    with pytest.raises(UserError, match="NaN or infinite values: network.last.norm.bias"):
        fitted_values(model, source, skip_head=False)


def test_mindspores_own_files_are_read_whatever_their_types(tmp_path):
    path = tmp_path / "any.ckpt"
    values = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "long": np.array([1, -2], np.int64),
        "scalar": np.array(2.5, np.float32),
    }
    ms.save_checkpoint(
        [{"name": name, "data": Tensor(value)} for name, value in values.items()],
        str(path),
        crc_check=True,
    )
    found = read_source(path)
    assert found.keys() == values.keys()
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    damaged = tmp_path / "damaged.ckpt"
    damaged.write_bytes(data)
    assert "checksum is wrong" in refused(damaged)


def refused(path) -> str:
    with pytest.raises(UserError) as raised:
        read_source(path)
    message = str(raised.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("name", [f"{SMALL}.pth", "flag3d_posec3d_2d.ckpt"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(files, tmp_path, name, share):
    data = (files / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(share * len(data))])
    refused(path)


def test_a_flipped_bit_in_a_pth_is_refused(files, tmp_path):
    data = bytearray((files / f"{SMALL}.pth").read_bytes())
    data[len(data) // 2] ^= 4
    path = tmp_path / "flipped.pth"
    path.write_bytes(data)
    assert "CRC" in refused(path)


def test_a_malicious_pth_is_refused_and_runs_nothing(tmp_path):
    path, trace = tmp_path / "evil.pth", tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {trace}",)

    write_zip(path, pickle.dumps({"state_dict": {"weight": Evil()}}, protocol=2))
    assert "system`, but only arrays" in refused(path)
    assert not trace.exists()


def test_keys_that_take_forever_to_hash_are_refused(tmp_path):
    nested = b"K\x01\x85"
    for number in range(60):
        nested += b"q" + bytes([number]) + b"h" + bytes([number]) + b"\x86"
    write_zip(tmp_path / "keys.pth", b"\x80\x02}" + nested + b"K\x01s.")
    assert "neither text nor a number" in refused(tmp_path / "keys.pth")


def test_a_ckpt_of_countless_axes_is_refused(tmp_path):
    def field(number: int, content: bytes) -> bytes:
        size = len(content)
        return (
            bytes([number << 3 | 2, size & 127 | 128, size >> 7 & 127 | 128, size >> 14]) + content
        )

    for axes in (field(1, b"\x02" * 100_000), b"\x08\x02" * 100_000):  # packed, and one by one
        tensor = axes + field(2, b"Float32") + field(3, bytes(4))
        path = tmp_path / "axes.ckpt"
        path.write_bytes(field(1, field(1, b"weight") + field(2, tensor)))
        assert "has more than 32 axes" in refused(path)


def test_tensors_that_share_their_numbers_a_hundred_times_are_refused(tmp_path):
    one = torch_pickle((250_000,), (1,), 250_000).removeprefix(b"\x80\x02}").removesuffix(b"s.")
    name = b"X\x06\0\0\0weight"
    entries = [
        name[:-3] + f"{number:03}".encode() + one.removeprefix(name) for number in range(100)
    ]
    data = {"archive/data/0": bytes(10**6)}
    write_zip(tmp_path / "shared.pth", b"\x80\x02}(" + b"".join(entries) + b"u.", data)
    assert "share their numbers" in refused(tmp_path / "shared.pth")


def test_a_tensor_beyond_its_data_is_refused(tmp_path):
    path = tmp_path / "beyond.pth"
    for size, stride in (((100,), (1,)), ((10**9, 10**9), (0, 0)), ((2,), (-1,))):
        write_zip(path, torch_pickle(size, stride), {"archive/data/0": bytes(16)})
        assert "describes a tensor" in refused(path)
    write_zip(path, torch_pickle((2, 2), (1, 2)), {"archive/data/0": np.arange(4.0, dtype="<f4")})
    np.testing.assert_array_equal(read_source(path)["weight"], [[0, 2], [1, 3]])


def test_other_files_are_refused(files, tmp_path):
    assert "before 1.6" in refused(files / f"{SMALL}_legacy.pth")
    (tmp_path / "empty.ckpt").touch()
    assert "nothing in it" in refused(tmp_path / "empty.ckpt")
    (tmp_path / "text.ckpt").write_text("weights, allegedly")
    assert "not a MindSpore checkpoint" in refused(tmp_path / "text.ckpt")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme", "hello")
    assert "not one that PyTorch wrote" in refused(tmp_path / "other.pth")
    write_zip(tmp_path / "list.pth", pickle.dumps([1, 2], protocol=2))
    assert "holds no state dict" in refused(tmp_path / "list.pth")
    assert "No such file" in refused(tmp_path / "absent.pth")
    shutil.copy(files / "flag3d_posec3d_2d.ckpt", tmp_path / "posec3d.pth")
    assert len(read_source(tmp_path / "posec3d.pth")) == 217  # whatever the name says


def write_zip(path, pickled: bytes, data: dict | None = None) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in (data or {}).items():
            archive.writestr(name, bytes(content))


def torch_pickle(size: tuple, stride: tuple, num_elements: int = 4) -> bytes:
    """The pickle of {"weight": a float32 tensor}, over a storage of so many numbers."""

    def named(module: str, name: str) -> bytes:
        return f"c{module}\n{name}\n".encode()

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def several(values: tuple) -> bytes:
        return b"(" + b"".join(number(value) for value in values) + b"t"

    storage = b"((X\x07\0\0\0storage" + named("torch", "FloatStorage") + b"X\x01\0\0\0"
    storage += b"0X\x03\0\0\0cpu" + number(num_elements) + b"tQ"
    tensor = named("torch._utils", "_rebuild_tensor_v2") + storage + number(0)
    tensor += several(size) + several(stride) + b"\x89}tR"
    return b"\x80\x02}X\x06\0\0\0weight" + tensor + b"s."


def test_a_network_that_no_published_file_is_known_for_is_refused():
    with pytest.raises(UserError, match="no published weights are known for Dense"):
        fitted_values(nn.Dense(2, 3), {}, skip_head=False)


@pytest.mark.parametrize(
    ("fixture", "kind", "layout", "num_classes", "settings"),
    [
        ("protogcn", ProtoGCN, "nturgb+d", 60, {}),
        ("blockgcn_m2", BlockGCN, "nturgb+d", 60, {"num_persons": 2}),
        ("skateformer_ucla", SkateFormer, "kinect20", 10, {"mlp_ratio": 1.0}),
    ],
)
def test_every_tensor_of_a_state_dict_of_several_gpus_is_accounted_for(
    shared, fixture, kind, layout, num_classes, settings
):
    state = Oracle(shared / "parity", fixture).state
    source = from_torch({f"module.{name}": array for name, array in state.items()})
    model = classifier(kind, num_classes, layout, **settings)
    values = fitted_values(model, source, skip_head=False)
    assert values.keys() == {p.name for p in model.get_parameters()}
    lacking = dict(source)
    lacking.pop(next(name for name in source if name.endswith(".weight")))
    with pytest.raises(UserError, match="the weights do not fit .*; missing"):
        fitted_values(model, lacking, skip_head=False)
    with pytest.raises(UserError, match="unexpected 1: tail"):
        fitted_values(model, source | {"tail": np.zeros(3)}, skip_head=False)


def authors_names(model) -> dict[str, tuple[int, ...]]:
    """The names and shapes in the state dict of the authors' CTR-GCN of the model's size."""
    _, rules = rules_of(model)
    found = {}
    for parameter in model.get_parameters():
        parts = source_names(rules, parameter.name)
        shape = (parameter.shape[0] // len(parts), *parameter.shape[1:])
        for name in parts:
            name = name.removeprefix("backbone.").replace("cls_head.fc_cls", "fc")
            name = re.sub(r"^net\.(\d+)", lambda number: f"l{int(number[1]) + 1}", name)
            found[re.sub(r"gcn1\.A$", "gcn1.PA", name)] = shape
    return found


def test_weights_of_ctrgcn_s_authors_give_what_their_edges_mean():
    """Against the definition: joint u receives the sum over v of E[u, v] x[v]."""
    model = classifier(CTRGCN, 4, "coco", base_channels=8, num_blocks=1, widen_at=())
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.uniform(0.1, 0.6, shape).astype(np.float32) * rng.choice([-1, 1], shape)
        for name, shape in authors_names(model).items()
    }
    for name in tensors:
        if name.endswith("running_var"):
            tensors[name] = np.abs(tensors[name])
    source = from_torch({f"module.{name}": array for name, array in tensors.items()})
    assign_parameters(list(model.get_parameters()), fitted_values(model, source, False))
    x = rng.standard_normal((2, 3, 5, 17)).astype(np.float32)

    def conv(number: int, which: int, values: np.ndarray) -> np.ndarray:
        prefix = f"l1.gcn1.convs.{number}.conv{which}"
        weight = tensors[f"{prefix}.weight"].reshape(-1, values.shape[1])
        bias = tensors[f"{prefix}.bias"].reshape(-1, 1, 1)
        return np.einsum("oc,nctv->notv", weight, values) + bias

    def norm(prefix: str, values: np.ndarray) -> np.ndarray:
        names = ("weight", "bias", "running_mean", "running_var")
        scale, shift, mean, variance = (
            tensors[f"{prefix}.{name}"].reshape(-1, 1, 1) for name in names
        )
        return (values - mean) / np.sqrt(variance + 1e-5) * scale + shift

    total = 0
    for number in range(3):
        first, second = (conv(number, which, x).mean(2) for which in (1, 2))
        differences = np.tanh(first[..., :, None] - second[..., None, :])  # (N, R, u, v)
        edges = conv(number, 4, differences) * tensors["l1.gcn1.alpha"]
        edges = edges + tensors["l1.gcn1.PA"][number]
        total = total + np.einsum("ncuv,nctv->nctu", edges, conv(number, 3, x))
    weight = tensors["l1.gcn1.down.0.weight"].reshape(8, 3)
    down = np.einsum("oc,nctv->notv", weight, x)
    down = down + tensors["l1.gcn1.down.0.bias"].reshape(-1, 1, 1)
    expected = np.maximum(norm("l1.gcn1.bn", total) + norm("l1.gcn1.down.1", down), 0)
    found = model.set_train(False).backbone.blocks[0].graph(Tensor(x)).asnumpy()
    assert expected.max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.max())
