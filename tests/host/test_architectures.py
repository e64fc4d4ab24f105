"""Every architecture that the host can build small: it trains, its file loads in core, and the model is unharmed."""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from .architectures.table import EXCLUDED, FAMILIES, WRITTEN_FOR, page

# The weight on the x0 error that each kind of model needs, of sigma s.
NATIVE: dict[str, Callable[[float], float]] = {
    "EPS": lambda s: 1 / s**2,
    "STABLE_CASCADE": lambda s: 1 / s**2,
    "V_PREDICTION": lambda s: 1 + 1 / s**2,
    "V_PREDICTION_EDM": lambda s: 1 + 1 / s**2,
    "V_PREDICTION_CONTINUOUS": lambda s: 1 + 1 / s**2,
    # Cosmos 1 and Playground 2.5 have a deviation of 0.5 in the data.
    "EDM": lambda s: (s**2 + 0.25) / (s * 0.5) ** 2,
    "FLOW": lambda s: 1 / s**2,
    "FLUX": lambda s: 1 / s**2,
    "FLOW_COSMOS": lambda s: ((s + 1) / s) ** 2,
    "IMG_TO_IMG": lambda s: 1.0,
}


@pytest.fixture(scope="module")
def tried(inside: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What was seen of a family; each is tried once, and its model forgotten."""
    trial = importlib.import_module(".architectures.trial", __package__)
    supported = importlib.import_module("comfy.supported_models")
    known: dict[str, Any] = {}

    def find(name: str) -> Any:
        family = FAMILIES.get(name) or EXCLUDED[name]
        if not hasattr(supported, family.host):
            pytest.skip(f"this host has no {family.host}")
        if name not in known:
            known[name] = trial.run(family, tmp_path_factory.mktemp(name))
        return known[name]

    return find


EACH = pytest.mark.parametrize("name", FAMILIES)


@EACH
def test_the_loss_falls_and_falls_as_much_in_core(name: str, tried: Callable[[str], Any]) -> None:
    """On the same noise, before training and with the saved file in core's loader."""
    seen = tried(name)
    assert all(math.isfinite(loss) and loss > 0 for loss in (*seen.losses, seen.before, seen.after))
    assert seen.after < 0.9 * seen.before


@EACH
def test_every_saved_name_is_in_cores_map(name: str, tried: Callable[[str], Any]) -> None:
    seen = tried(name)
    assert FAMILIES[name].key in seen.keys
    assert seen.unknown == ()
    assert seen.complaints == ()


@EACH
def test_core_changes_every_layer_that_learned_and_nothing_else(name: str, tried: Callable[[str], Any]) -> None:
    seen, idle = tried(name), FAMILIES[name].idle
    assert [key for key in seen.still if not any(fnmatchcase(key, pattern) for pattern in idle)] == []
    assert [pattern for pattern in idle if not any(fnmatchcase(key, pattern) for key in seen.still)] == []
    assert set(seen.moved) == set(seen.keys) - set(seen.still)
    assert seen.astray == ()


@EACH
def test_the_model_is_as_it_was(name: str, tried: Callable[[str], Any]) -> None:
    assert tried(name).harmed == ()


@EACH
def test_the_loss_is_the_families_own(name: str, tried: Callable[[str], Any]) -> None:
    seen, family = tried(name), FAMILIES[name]
    assert seen.kind == family.kind
    assert seen.prediction == family.prediction
    assert seen.weights == pytest.approx([NATIVE[family.kind](level) for level in seen.levels], rel=1e-3)


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_cannot_be_trained_still_cannot(name: str, tried: Callable[[str], Any]) -> None:
    """For the reason in the table; or a newer host has mended it, and the table can change."""
    with pytest.raises(Exception, match=EXCLUDED[name].fails):
        tried(name)


def test_the_tables_cover_every_class_of_the_host(inside: Path) -> None:
    """A newer host may have classes that nobody has looked at yet; the skip names them."""
    supported = importlib.import_module("comfy.supported_models")
    hosts = {one.__name__ for one in supported.models if one.__module__ == supported.__name__}
    covered = {family.host for family in (*FAMILIES.values(), *EXCLUDED.values())}
    unknown = sorted(hosts - covered)
    if importlib.import_module("comfyui_version").__version__ == WRITTEN_FOR:
        assert unknown == []
        assert covered <= hosts
    elif unknown:
        pytest.skip(f"architectures that the tables do not know: {', '.join(unknown)}")


def test_the_page_is_made_of_the_tables(root: Path) -> None:
    file = root / "docs" / "families.md"
    if os.environ.get("KILN_WRITE_DOCS"):
        file.write_text(page(), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == page()
