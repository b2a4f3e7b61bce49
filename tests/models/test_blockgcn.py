"""BlockGCN's topologies and graphs."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor
from models.oracle import Oracle
from networks import classifier

from flag3d_exp.errors import UserError
from flag3d_exp.models.blockgcn import BlockGCN
from flag3d_exp.models.topology import Topology

SMALL = {"base_channels": 8, "num_blocks": 2, "widen_at": (2,), "halve_at": (2,)}


@pytest.fixture(params=["blockgcn", "blockgcn_m2"])
def oracle(request, shared):
    return Oracle(shared / "parity", request.param)


def topology(oracle, of_batch=True):
    made = Topology(25, 64, of_batch)
    for parameter in (made.centres, made.sharpness):
        ms.ops.assign(parameter, Tensor(oracle.state[f"topo.pl.{parameter.name}"]))
    return made


def test_topologies_equal_the_reference(oracle):
    made, joints = topology(oracle), Tensor(oracle.arrays["joint"])
    distances = made.distances(joints)
    lengths = np.sort(made.tree_lengths(distances).asnumpy(), 1)
    atol = oracle.meta["tolerance"]["topology"]
    for found, name in (
        (distances.asnumpy(), "distances"),
        (lengths, "deaths"),
        (made(joints).asnumpy(), "vector"),
    ):
        np.testing.assert_allclose(found, oracle.arrays[f"topology/{name}"], atol=atol, rtol=0)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "compiled"])
def test_joints_that_coincide_are_one_part_from_the_start(oracle, jit):
    made, joints = topology(oracle), Tensor(oracle.arrays["topology_case/joint"])
    gradient = ms.value_and_grad(lambda x: (made(x) ** 2).sum(), None, made.trainable_params())
    forward = ms.jit(made.construct) if jit else made
    expected, atol = oracle.arrays["topology_case/vector"], oracle.meta["tolerance"]["topology"]
    np.testing.assert_allclose(forward(joints).asnumpy(), expected, atol=atol, rtol=1e-6)
    for found in gradient(joints)[1]:
        assert np.isfinite(found.asnumpy()).all()


def test_hops_are_those_of_the_reference(oracle):
    model = BlockGCN("nturgb+d", **SMALL)
    at_hops = model.blocks[0].graph.at_hops.asnumpy()
    np.testing.assert_array_equal(at_hops.argmax(0).reshape(25, 25), oracle.arrays["hops"])


def logits(model, clips):
    return model(Tensor(clips)).asnumpy()


def test_a_clips_scores_depend_on_no_other_unless_asked_for():
    clips = np.random.default_rng(0).standard_normal((3, 2, 6, 17, 3)).astype(np.float32)
    clips *= np.array([1, 3, 9], np.float32).reshape(3, 1, 1, 1, 1)
    for batch_topology in (False, True):
        ms.set_seed(0)
        settings = SMALL | {"num_persons": 2, "batch_topology": batch_topology}
        model = classifier(BlockGCN, 4, "coco", **settings).set_train(False)
        together = logits(model, clips)
        difference = np.abs(together[:1] - logits(model, clips[:1])).max() / np.abs(together).max()
        assert difference > 1e-3 if batch_topology else difference < 1e-6


def test_the_topology_is_that_of_the_joints_whatever_the_stream():
    ms.set_seed(0)
    model = classifier(BlockGCN, 4, "coco", joint_channels=True, **SMALL).set_train(False)
    joints = np.random.default_rng(0).random((2, 1, 6, 17, 3), np.float32)
    same = np.concatenate([joints, joints], -1)
    np.testing.assert_array_equal(logits(model, same), logits(model, joints))
    others = np.concatenate([joints, joints[..., ::-1] ** 3], -1)
    assert np.abs(logits(model, others) - logits(model, joints)).max() > 1e-3


def test_graphs_start_as_each_joint_alone_and_their_gradients_are_finite():
    model = BlockGCN("coco", **SMALL)
    unit = model.blocks[0].graph
    graphs = unit.graphs().asnumpy()
    np.testing.assert_allclose(graphs, np.tile(np.eye(17), (3, 8, 1, 1)), atol=2e-4)
    gradient = ms.grad(lambda: (unit.graphs() ** 2).sum(), None, unit.trainable_params())
    assert all(np.isfinite(g.asnumpy()).all() for g in gradient())


def test_groups_that_do_not_share_the_channels_out_are_refused():
    with pytest.raises(UserError, match="`model.num_groups` must divide .*; got 8 and 20"):
        BlockGCN("coco", base_channels=20)
