"""Every layer keeps every promise of the contract, alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.middleware.contract import Promise, promises
from tests.middleware.standing import LAYERS, layers_found, standing


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
@promises
async def test_the_layer_keeps_its_promise(kind: type[Any], kept: Promise, tmp_path: Path) -> None:
    """One promise, one layer; the promise's own docstring says what is at stake."""
    await kept(standing(kind, tmp_path))


def test_no_layer_is_left_out() -> None:
    """A new file in `middleware/` is held to the contract, or this fails."""
    assert set(layers_found()) == set(LAYERS)


@pytest.mark.parametrize("kind", LAYERS, ids=lambda kind: kind.__name__)
def test_a_layer_says_where_it_stands(kind: type[Any]) -> None:
    """The declarations that the order check reads are sets of names, and the class says what it is for."""
    assert isinstance(kind.requires, frozenset)
    assert isinstance(kind.provides, frozenset)
    assert kind.__doc__
