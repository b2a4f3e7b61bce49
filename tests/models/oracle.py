"""Holding a model against its oracle in ../shared/parity: logits, features, gradients, training.

An oracle's arrays are under PYSKL's names, which a network's `published` makes of ours.
"""

import importlib.util
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from flag3d_exp.engine.optimizer import parameter_groups, sgd
from flag3d_exp.engine.parameters import assign_parameters
from flag3d_exp.weights.importing import fitted_values, rules_of
from flag3d_exp.weights.names import source_names


@dataclass(frozen=True)
class Oracle:
    """One fixture of ../shared/parity."""

    folder: Path
    name: str

    @cached_property
    def meta(self) -> dict:
        return json.loads((self.folder / f"{self.name}.json").read_text(encoding="utf-8"))

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        return dict(np.load(self.folder / f"{self.name}.npz"))

    @cached_property
    def state(self) -> dict[str, np.ndarray]:
        """The initial weights, by PYSKL's names."""
        spec = importlib.util.spec_from_file_location("weights", self.folder / "weights.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.state_dict(self.meta, self.arrays)

    @cached_property
    def clips(self) -> Tensor:
        """The input: keypoints (N, M, T, V, C), or heatmaps (N * T, V, H, W).

        What else a reference takes is in further channels of the keypoints.
        """
        if "input" in self.arrays:
            return Tensor(np.concatenate([self.arrays["input"], *self.further_channels()], -1))
        volumes = self.arrays["input_u8"].astype(np.float32) / 256  # (N, V, T, H, W)
        frames = volumes.transpose(0, 2, 1, 3, 4)
        return Tensor(np.ascontiguousarray(frames).reshape(-1, *frames.shape[2:]))

    def further_channels(self) -> list[np.ndarray]:
        """Joints besides a stream made of them; times (N, T), the same for each joint."""
        found = [self.arrays["joint"]] if "joint" in self.arrays else []
        if "index_t" in self.arrays:
            times = self.arrays["index_t"][:, None, :, None, None]
            shape = (*self.arrays["input"].shape[:-1], 1)
            found.append(np.broadcast_to(times, shape).astype(np.float32))
        return found

    def initialise(self, model: nn.Cell) -> None:
        parameters = list(model.get_parameters())
        values = fitted_values(model, self.state, skip_head=False)
        if "memory_before" in self.arrays:
            values["head.auxiliary.class_means"] = self.arrays["memory_before"].astype(np.float32)
        assign_parameters(parameters, values)

    def function(self, model: nn.Cell):
        """The oracle's input -> logits."""
        if "input" in self.arrays:
            return model
        num_frames = self.arrays["input_u8"].shape[2]

        def classify(heatmaps):
            return model.head(model.backbone.volume_features(heatmaps, num_frames))

        return classify

    def parts(self, model: nn.Cell, name: str, array: np.ndarray) -> dict[str, np.ndarray]:
        """One of our arrays as the reference's, which may hold it in several."""
        names = source_names(rules_of(model)[1], name)
        if not names:
            return {}
        shapes = [self.state[part].shape for part in names]
        ends = np.cumsum([shape[0] for shape in shapes if shape])[:-1]
        split = np.split(array, ends) if len(names) > 1 else [array]
        return {n: a.reshape(s) for n, a, s in zip(names, split, shapes, strict=True)}


def check_inference(
    oracle: Oracle, model: nn.Cell, features: dict[str, list[str]], jit: bool
) -> None:
    """Logits and features in evaluation mode, uncompiled, and logits compiled as well.

    Args:
        features: for a feature's name, those of our cells whose outputs make its sum.
        jit: compile, too.
    """
    oracle.initialise(model)
    assert sum(p.size for p in model.trainable_params()) == oracle.meta["parameters"]
    model.set_train(False)
    tolerance, arrays = oracle.meta["tolerance"], oracle.arrays
    known = {name.removeprefix("feature/") for name in arrays if name.startswith("feature/")}
    assert known == features.keys()
    outputs = {}
    cells = {cell for chosen in features.values() for cell in chosen}
    hooks = [
        cell.register_forward_hook(recorder(outputs, name))
        for name, cell in model.backbone.cells_and_names()
        if name in cells
    ]
    assert len(hooks) == len(cells)
    forward = oracle.function(model)
    logits = forward(oracle.clips).asnumpy()
    for hook in hooks:
        hook.remove()
    np.testing.assert_allclose(logits, arrays["logits"], atol=tolerance["logits"], rtol=0)
    for feature, chosen in features.items():
        output = sum(outputs[name] for name in chosen)
        expected = arrays[f"feature/{feature}"]  # (N, C) or (N * M, C)
        if output.shape[1] != expected.shape[1]:
            output = np.moveaxis(output, -1, 1)  # of a network whose channels come last
        found = output.reshape(len(expected), -1, *output.shape[1:]).mean((1, 3, 4))
        np.testing.assert_allclose(
            found, expected, atol=tolerance["features"], rtol=0, err_msg=feature
        )
    if not jit:
        return
    compiled = ms.jit(forward if forward is not model else model.construct)
    logits = compiled(oracle.clips).asnumpy()
    np.testing.assert_allclose(logits, arrays["logits"], atol=tolerance["logits"], rtol=0)


def recorder(outputs: dict, name: str):
    def record(_cell, _inputs, output):
        outputs[name] = output.asnumpy()

    return record


def check_training(oracle: Oracle, model: nn.Cell, jit: bool) -> None:
    """Five steps: logits and gradients of the first, all losses, the state and logits after."""
    tolerance, arrays, settings = oracle.meta["tolerance"], oracle.arrays, oracle.meta["training"]
    oracle.initialise(model)
    model.set_train(True)
    optimizer = sgd(
        parameter_groups(model.get_parameters(), None, False),
        settings["learning_rate"],
        weight_decay=settings["weight_decay"],
    )
    step = train_function(oracle.function(model), model.auxiliary, optimizer)
    step = ms.jit(step) if jit else step
    labels = Tensor(arrays["labels"].astype(np.int32))
    losses = []
    for number in range(settings["steps"]):
        loss, logits, gradients = step(oracle.clips, labels)
        losses.append(float(loss.asnumpy()))
        if number == 0:
            atol = tolerance["train_logits_step1"]
            expected = arrays["train_logits_step1"]
            np.testing.assert_allclose(logits.asnumpy(), expected, atol=atol, rtol=0)
            check_gradients(oracle, model, optimizer, gradients)
    atol = tolerance["train_losses"]
    np.testing.assert_allclose(losses, arrays["train_losses"], atol=atol, rtol=0)
    check_state(oracle, model)
    model.set_train(False)
    logits = oracle.function(model)(oracle.clips).asnumpy()
    expected, atol = arrays["logits_after_training"], tolerance["logits_after_training"]
    np.testing.assert_allclose(logits, expected, atol=atol, rtol=0)


def train_function(forward, auxiliary: nn.Cell | None, optimizer: nn.Optimizer):
    """(clips, labels) -> loss, logits, gradients, the weights updated."""

    def loss_of(clips, labels):
        if auxiliary is None:
            logits = forward(clips)
            return ops.cross_entropy(logits, labels), logits
        logits, evidence = forward(clips)
        loss = ops.cross_entropy(logits, labels)
        return loss + auxiliary(evidence, logits, labels), logits

    gradient = ms.value_and_grad(loss_of, None, optimizer.parameters, has_aux=True)

    def step(clips, labels):
        (loss, logits), gradients = gradient(clips, labels)
        optimizer(gradients)
        return loss, logits, gradients

    return step


def check_gradients(oracle: Oracle, model: nn.Cell, optimizer: nn.Optimizer, gradients) -> None:
    """Norms by parameter; below a thousandth of the largest they are rounding."""
    norms = {}
    for parameter, gradient in zip(optimizer.parameters, gradients, strict=True):
        for name, part in oracle.parts(model, parameter.name, gradient.asnumpy()).items():
            norms[name] = np.linalg.norm(part)
    assert norms.keys() == set(oracle.meta["trainable"])
    expected = oracle.arrays["grad_norm_step1"]
    found = np.array([norms[name] for name in oracle.meta["trainable"]])
    large = expected > 1e-3 * expected.max()
    rtol = oracle.meta["tolerance"]["grad_norm_step1_relative"]
    np.testing.assert_allclose(found[large], expected[large], rtol=rtol)
    assert found[~large].max(initial=0) < 2e-3 * expected.max()


def check_state(oracle: Oracle, model: nn.Cell) -> None:
    tolerance, checked = oracle.meta["tolerance"], 0
    for parameter in model.get_parameters():
        for name, part in oracle.parts(model, parameter.name, parameter.asnumpy()).items():
            if f"after/{name}" not in oracle.arrays:
                continue
            expected = oracle.arrays[f"after/{name}"]
            if ".running_" in name:  # variances go to 20, and their last digits with the processor
                limits = {"atol": tolerance["after_running_stats"], "rtol": 5e-4}
            else:
                limits = {"atol": tolerance["after_parameters"], "rtol": 0}
            np.testing.assert_allclose(part, expected, **limits, err_msg=name)
            checked += 1
    if "after_norm" in oracle.arrays:
        check_norms(oracle, model)
    if "memory_after_training" in oracle.arrays:
        means = model.auxiliary.class_means.asnumpy()[:, oracle.meta["memory_classes"]]
        expected, atol = oracle.arrays["memory_after_training"], tolerance["memory"]
        np.testing.assert_allclose(means, expected, atol=atol, rtol=0)
    counters = [n for n in oracle.arrays if n.endswith("num_batches_tracked")]
    stored = [name for name in oracle.arrays if name.startswith("after/")]
    assert checked == len(stored) - len(counters) > 0


def check_norms(oracle: Oracle, model: nn.Cell) -> None:
    """L2 norms of all that was trained."""
    norms = {}
    for parameter in model.trainable_params():
        for name, part in oracle.parts(model, parameter.name, parameter.asnumpy()).items():
            norms[name] = np.linalg.norm(part.astype(np.float64))
    found = [norms[name] for name in oracle.meta["trainable"]]
    rtol = oracle.meta["tolerance"]["after_norm_relative"]
    np.testing.assert_allclose(found, oracle.arrays["after_norm"], rtol=rtol, atol=1e-9)


def graph_features(blocks: str, graph: str, temporal: str, first: int = 0) -> dict[str, list[str]]:
    """Features of a network of ten blocks, of which two are looked into.

    Args:
        blocks: the reference's name of a block, with `{}` for its number, counted from `first`.
        graph, temporal: its names of the two units.
    """
    features = {blocks.format(number + first): [f"blocks.{number}"] for number in range(10)}
    for number in (0, 4):
        block = blocks.format(number + first)
        features[f"{block}.{graph}"] = [f"blocks.{number}.graph"]
        features[f"{block}.{temporal}"] = [f"blocks.{number}.temporal"]
    return features
