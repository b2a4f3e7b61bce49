"""The ranges in the networks' settings against what the networks can be made with."""

import ast

import pytest
from networks import GRAPH

from flag3d_exp.bounds import within
from flag3d_exp.config.signature import arguments


@pytest.mark.parametrize("kind", GRAPH, ids=lambda kind: kind.__name__)
def test_a_graph_network_has_the_least_width_that_it_can_be_made_with(kind):
    """One channel fewer, and a convolution would have none."""
    known = arguments(f"{kind.__module__}.{kind.__name__}")
    assert known is not None
    annotation = known["base_channels"].annotation
    assert isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple)
    bounds = ast.literal_eval(annotation.slice.elts[1])
    least = next(width for width in range(1, 100) if within(bounds, width))
    settings = {"layout": "nturgb+d"} | GRAPH[kind]
    if "ratio" in known:
        settings["ratio"] = 1.0  # so that its graphs have channels, however few there are
    kind(**settings | {"base_channels": least})
    if least > 1:
        with pytest.raises(ValueError, match="must be positive"):
            kind(**settings | {"base_channels": least - 1})
