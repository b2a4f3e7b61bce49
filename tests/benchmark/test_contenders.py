"""Which networks there are to time against."""

import logging
from pathlib import Path

import pytest

from flag3d_exp.benchmark import contenders


@pytest.mark.parametrize("kind", ["torch", "naive"])
def test_an_installed_package_says_where_the_other_networks_are(kind, monkeypatch, caplog):
    monkeypatch.setattr(contenders, "NETWORKS", Path("/nowhere"))
    with caplog.at_level(logging.WARNING):
        assert contenders.start(kind, Path(), warmup=0) is None
    assert f"`task.against={kind}`" in caplog.text and "checkout" in caplog.text


def test_a_checkout_has_them():
    assert (contenders.NETWORKS / "torch_networks" / "__init__.py").is_file()
    assert (contenders.NETWORKS / "naive.py").is_file()
