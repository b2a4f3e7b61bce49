"""2D joints from the root: what does not matter, and where a root is that is not seen."""

import numpy as np
import pytest

from flag3d_exp.data.roots import measured_from_root, root_weights
from flag3d_exp.skeletons.layout import load_layout

NTU = load_layout("nturgb+d")


def test_the_size_and_the_place_in_the_image_do_not_matter():
    rng = np.random.default_rng(0)
    pixels, seen = rng.normal(size=(1, 8, 25, 2)) * 100, rng.random((1, 8, 25)) < 0.8
    root = root_weights(NTU)
    made = measured_from_root(pixels, seen, root)
    np.testing.assert_allclose(
        measured_from_root(3 * pixels + [200, -50], seen, root), made, atol=1e-5
    )
    squares = np.square(made[..., :2][seen]).sum(-1)
    assert squares.mean() == pytest.approx(1, rel=1e-5)
    assert not made[~seen].any()


def test_a_missing_root_lies_between_where_it_is_seen():
    root = root_weights(NTU)
    pixels, seen = np.zeros((1, 3, 25, 2)), np.ones((1, 3, 25), bool)
    pixels[0, :, :, 0] = np.array([[0], [10], [20]])  # the body moves to the right
    pixels[0, :, 5, 1] = 4
    whole = measured_from_root(pixels, seen, root)
    seen[0, 1, 0] = False
    part = measured_from_root(pixels, seen, root)
    np.testing.assert_allclose(np.delete(part, 0, 2)[..., 0], 0, atol=1e-6)
    assert part[0, 1, 5, 1] > 0 and not part[0, 1, 0].any()
    assert part[0, 1, 5, 1] == pytest.approx(whole[0, 1, 5, 1], rel=0.05)
    seen[:, :, 0] = False  # never seen: the mean of the joints
    assert np.isfinite(measured_from_root(pixels, seen, root)).all()
    seen[:] = False
    assert not measured_from_root(pixels, seen, root).any()


@pytest.mark.parametrize(
    ("layout", "joints"),
    [("nturgb+d", ["base of spine"]), ("coco", ["left hip", "right hip"]), ("h36m", ["root"])],
)
def test_the_root_is_at_the_base_of_the_spine(layout, joints):
    found = load_layout(layout)
    weights = root_weights(found)
    assert weights.sum() == 1
    assert [found.joints[joint] for joint in weights.nonzero()[0]] == joints
