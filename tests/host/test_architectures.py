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

from .architectures.table import EXCLUDED, FAMILIES, NEWER, OLDER, ONLY_IN_NEWER, UNTRIED, WRITE, has, page
from .architectures.texts import READ, TEXTS

# The weight on the x0 error that each kind of model needs, of sigma s.
NATIVE: dict[str, Callable[[float], float]] = {
    "EPS": lambda s: 1 / s**2,
    "STABLE_CASCADE": lambda s: 1 / s**2,
    "V_PREDICTION": lambda s: 1 + 1 / s**2,
    "V_PREDICTION_EDM": lambda s: 1 + 1 / s**2,
    "V_PREDICTION_CONTINUOUS": lambda s: 1 + 1 / s**2,
    "V_PREDICTION_DDPM": lambda s: 1 + 1 / s**2,
    # Cosmos 1 and Playground 2.5 have a deviation of 0.5 in the data.
    "EDM": lambda s: (s**2 + 0.25) / (s * 0.5) ** 2,
    "FLOW": lambda s: 1 / s**2,
    "FLUX": lambda s: 1 / s**2,
    "FLOW_COSMOS": lambda s: ((s + 1) / s) ** 2,
    "IMG_TO_IMG": lambda s: 1.0,
    "IMG_TO_IMG_FLOW": lambda s: 1.0,
}


@pytest.fixture(scope="module")
def supported(inside: Path) -> Any:
    """The host's own list of architectures."""
    return importlib.import_module("comfy.supported_models")


@pytest.fixture(scope="module")
def tried(supported: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """What was seen of a family; each is tried once, and its model forgotten."""
    trial = importlib.import_module(".architectures.trial", __package__)
    known: dict[str, Any] = {}

    def find(name: str) -> Any:
        family = _family(supported, name)
        if name not in known:
            known[name] = trial.run(family, tmp_path_factory.mktemp(name))
        return known[name]

    return find


@pytest.fixture(scope="module")
def learned(supported: Any) -> Callable[[str], Any]:
    """What was seen of a text encoder; each is tried once."""
    reading = importlib.import_module(".architectures.reading", __package__)
    known: dict[str, Any] = {}

    def find(name: str) -> Any:
        if not has(supported, TEXTS[name].since):
            pytest.skip(f"this host loads no LoRA into {name}")
        if name not in known:
            known[name] = reading.learn(TEXTS[name])
        return known[name]

    return find


def _family(supported: Any, name: str) -> Any:
    family = FAMILIES.get(name) or EXCLUDED[name]
    if not has(supported, family.since) or not hasattr(supported, family.host):
        pytest.skip(f"this host has no {family.host}, or not in this form")
    return family


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
    assert seen.by_itself
    assert set(seen.by_itself) <= set(seen.keys)
    assert seen.unknown == ()
    assert seen.complaints == ()


@EACH
def test_core_changes_every_layer_that_learned_and_nothing_else(name: str, tried: Callable[[str], Any]) -> None:
    seen, idle, rounded = tried(name), FAMILIES[name].idle, FAMILIES[name].rounded
    assert [key for key in seen.still if not any(fnmatchcase(key, pattern) for pattern in (*idle, *rounded))] == []
    assert [pattern for pattern in idle if not any(fnmatchcase(key, pattern) for key in seen.still)] == []
    assert [pattern for pattern in rounded if not any(fnmatchcase(key, pattern) for key in seen.keys)] == []
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


@pytest.mark.parametrize(
    ("name", "version", "prediction"),
    [
        ("SD15", "sd_v1", "epsilon"),
        ("SD20", "sd_v2", "epsilon"),
        ("SD_X4Upscaler", "sd_v2", "v"),
        ("SDXL-v", "sdxl_base_v1-0", "v"),
        ("SDXLRefiner", "SDXLRefiner", "epsilon"),
        ("Flux", "flux1", "flow"),
        ("ZImage", "zimage", "flow"),
        ("AuraFlow", "AuraFlow", "flow"),
    ],
)
def test_the_file_tells_bases_apart(name: str, version: str, prediction: str, tried: Callable[[str], Any]) -> None:
    facts = tried(name).facts
    assert facts["ss_base_model_version"] == version
    assert facts["modelspec.prediction_type"] == prediction


@pytest.mark.parametrize("name", EXCLUDED)
def test_what_cannot_be_trained_still_cannot(name: str, tried: Callable[[str], Any]) -> None:
    """For the reason in the table; or a newer host has mended it, and the table can change."""
    with pytest.raises(Exception, match=EXCLUDED[name].fails):
        tried(name)


def test_the_tables_cover_every_class_of_the_host(supported: Any) -> None:
    """A newer host may have classes that nobody has looked at yet; the skip names them."""
    hosts = {one.__name__ for one in supported.models if one.__module__ == supported.__name__}
    rows = [*FAMILIES.values(), *EXCLUDED.values(), *UNTRIED.values()]
    covered = {row.host for row in rows if has(supported, row.since)}
    unknown = sorted(hosts - {row.host for row in rows})
    version = importlib.import_module("comfyui_version").__version__
    if version in (OLDER, NEWER):
        assert hasattr(supported, ONLY_IN_NEWER) == (version == NEWER)
        assert unknown == []
        assert covered <= hosts
    elif unknown:
        pytest.skip(f"architectures that the tables do not know: {', '.join(unknown)}")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_is_the_same_in_a_batch_recomputed_and_nearly_so_in_bf16(name: str, supported: Any) -> None:
    """No caption is averaged with another, and checkpointing changes no gradient."""
    family = _family(supported, name)
    seen = importlib.import_module(".architectures.ways", __package__).compare(family)
    assert seen.mixed < 1e-3
    assert (seen.told > 1e-3) != family.mute
    assert seen.recomputed < 1e-3
    assert seen.coarse < 0.1


def test_what_stands_in_for_the_hosts_functions_goes_again(supported: Any) -> None:
    """The host's language models add into their input; while training they get a sum that has a backward."""
    torch, llama = importlib.import_module("torch"), importlib.import_module("comfy.text_encoders.llama")
    kernels = importlib.import_module("lora_kiln.host.kernels")
    one = torch.ones(2, requires_grad=True)
    with kernels.differentiable():
        llama.torch.add(one, one, out=one.detach()).sum().backward()
        assert llama.torch.nn is torch.nn
    assert one.grad.tolist() == [2, 2]
    assert llama.torch is torch


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_encoder_learns_and_core_reads_the_same(name: str, learned: Callable[[str], Any]) -> None:
    seen = learned(name)
    assert seen.after < 0.5 * seen.before
    assert seen.apart < 1e-3
    assert seen.complaints == ()
    assert seen.harmed == ()


@pytest.mark.parametrize("name", TEXTS)
def test_every_layer_of_a_text_encoder_goes_by_a_name_of_cores(name: str, learned: Callable[[str], Any]) -> None:
    seen, text = learned(name), TEXTS[name]
    assert set(text.keys) <= set(seen.keys)
    assert seen.unknown == ()
    assert [key for key in seen.still if not any(fnmatchcase(key, pattern) for pattern in text.idle)] == []
    assert [pattern for pattern in text.idle if not any(fnmatchcase(key, pattern) for key in seen.still)] == []


@pytest.mark.parametrize("name", READ)
def test_an_encoder_without_names_is_only_read(name: str, supported: Any) -> None:
    reading = importlib.import_module(".architectures.reading", __package__)
    assert reading.offered(READ[name].model) == []


def test_sd3s_third_encoder_goes_by_kohyas_number(supported: Any) -> None:
    """At its own size, without memory: T5 is as wide as SD3 reads it."""
    reading = importlib.import_module(".architectures.reading", __package__)
    keys = reading.offered("comfy.text_encoders.sd3_clip.SD3ClipModel")
    assert len(keys) == 12 * 6 + 32 * 6 + 24 * 7
    assert "lora_te3_encoder_block_23_layer_1_DenseReluDense_wo" in keys


@pytest.mark.parametrize(
    ("name", "blocks", "outside"),
    [
        (
            "FluxSchnell",
            ("double_blocks_", "single_blocks_"),
            ("img_in", "txt_in", "time_in_", "vector_in_", "final_layer_"),
        ),
        ("SD3", ("joint_blocks_",), ("x_embedder_", "context_embedder", "t_embedder_", "y_embedder_", "final_layer_")),
        ("QwenImage", ("transformer_blocks_",), ("img_in", "txt_in", "time_text_embed_", "norm_out_", "proj_out")),
    ],
)
def test_a_transformer_is_trained_in_its_blocks_as_kohyas_networks_do(
    name: str, blocks: tuple[str, ...], outside: tuple[str, ...], supported: Any
) -> None:
    trial = importlib.import_module(".architectures.trial", __package__)
    table = importlib.import_module(".architectures.table", __package__)
    host = importlib.import_module("lora_kiln.host.layers")
    with importlib.import_module("torch").inference_mode():
        layers = host.unet_layers(trial.build(table.FAMILIES[name]).model)
    shares: dict[str, set[str]] = {}
    for layer in layers:
        shares.setdefault(layer.share, set()).add(layer.key.removeprefix("lora_unet_"))
    assert [key for key in shares["base"] if not key.startswith(blocks)] == []
    assert [key for key in shares["ends"] if not key.startswith(outside)] == []
    assert [part for part in outside if not any(key.startswith(part) for key in shares["ends"])] == []


@pytest.mark.parametrize(
    ("encoder", "first_layers"),
    [
        ("comfy.text_encoders.sd3_clip.SD3ClipModel", {0: "lora_te1_", 1: "lora_te2_", 2: "lora_te3_"}),
        ("comfy.sdxl_clip.SDXLClipModel", {0: "lora_te1_", 1: "lora_te2_"}),
        ("comfy.text_encoders.flux.FluxClipModel", {0: "lora_te1_", 1: "lora_te3_"}),
        ("comfy.sd1_clip.SD1ClipModel", {0: "lora_te_"}),
    ],
)
def test_text_encoders_are_counted_as_kohyas_lists_of_rates_do(
    encoder: str, first_layers: dict[int, str], supported: Any
) -> None:
    reading = importlib.import_module(".architectures.reading", __package__)
    found: dict[int, set[str]] = {}
    for layer in reading.layers_of(encoder):
        found.setdefault(layer.encoder, set()).add("_".join([*layer.key.split("_")[:2], ""]))
    assert found == {number: {prefix} for number, prefix in first_layers.items()}


def test_the_page_is_made_of_the_tables(root: Path) -> None:
    file = root / "docs" / "families.md"
    if os.environ.get("KILN_WRITE_DOCS"):
        file.write_text(page(), encoding="utf-8")
    assert file.read_text(encoding="utf-8") == page(), f"run {WRITE}"
