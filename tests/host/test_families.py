"""Other families than SD1.5: tiny untrained checkpoints in the layouts of the real ones."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Family(NamedTuple):
    """What the host and the saved file say of a checkpoint, and prefixes of the layers that must be trained."""

    model_type: str
    prediction: str
    architecture: str
    prefixes: tuple[str, ...]


FAMILIES = {
    "sdxl": Family(
        "EPS",
        "epsilon",
        "stable-diffusion-xl-v1-base/lora",
        (
            "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q",
            "lora_unet_middle_block_1_proj_in",
            "lora_unet_output_blocks_0_1_transformer_blocks_0_ff_net_0_proj",
            "lora_te1_text_model_encoder_layers_0_self_attn_q_proj",
            "lora_te2_text_model_encoder_layers_0_mlp_fc1",
        ),
    ),
    "sdxl-v": Family(
        "V_PREDICTION",
        "v",
        "stable-diffusion-xl-v1-base/lora",
        ("lora_unet_input_blocks_", "lora_te1_text_model_encoder_", "lora_te2_text_model_encoder_"),
    ),
    "sd3": Family(
        "FLOW",
        "flow",
        "stable-diffusion-3/lora",
        (
            "lora_unet_joint_blocks_0_x_block_attn_qkv",
            "lora_unet_joint_blocks_0_context_block_mlp_fc1",
            "lora_te1_text_model_encoder_",
            "lora_te2_text_model_encoder_",
        ),
    ),
}


@pytest.fixture(scope="module")
def trained(
    inside: Path,
    load_checkpoint: Callable[[str], Any],
    small_recipe: Any,
    run_node: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Any]:
    """Loads a family's checkpoint, trains three steps on one batch; returns (loaded, outputs). Once a family."""
    known: dict[str, Any] = {}

    def run(name: str) -> Any:
        if name not in known:
            import torch

            from demo.variants import write_checkpoint
            from lora_kiln.dataset.values import Dataset, Record

            folder = tmp_path_factory.mktemp(name)
            pictures = importlib.import_module("PIL.Image")
            records = []
            for color in ("red", "blue"):
                pictures.new("RGB", (96, 128), color).save(folder / f"{color}.png")
                records.append(Record(image=folder / f"{color}.png", size=(96, 128), tags=("kiln", color)))
            dataset = Dataset(records=tuple(records), trigger="kiln")
            loaded = load_checkpoint(write_checkpoint(name, inside / "models" / "checkpoints").name)
            with torch.inference_mode():
                outputs = run_node(loaded, dataset, small_recipe(epochs=3, side=128), name)
            known[name] = loaded, outputs
        return known[name]

    return run


EACH = pytest.mark.parametrize("name", FAMILIES)


@EACH
def test_the_checkpoint_is_taken_for_its_family(name: str, trained: Callable[[str], Any]) -> None:
    (model, _, _), _ = trained(name)
    assert model.model.model_type.name == FAMILIES[name].model_type
    if name == "sdxl-v":
        assert model.get_model_object("model_sampling").sigma_max > 1000  # zero terminal SNR


@EACH
def test_three_steps_are_trained_with_a_finite_loss_of_a_networks_size(
    name: str, trained: Callable[[str], Any]
) -> None:
    _, (_, _, run, lora, losses, *_) = trained(name)
    assert [one.step for one in run.checkpoints] == [1, 2, 3]
    assert all(math.isfinite(loss) and 0.1 < loss < 100 for loss in losses["loss"])
    moved = [key for key, tensor in lora.items() if key.endswith("lora_up.weight") and tensor.abs().max() > 0]
    # The last text layer stays behind: these families read the one before it. So does what the last block drops.
    assert len(moved) > 0.6 * len(lora) / 3
    assert {key.partition("_")[2].partition("_")[0] for key in moved} == {"unet", "te1", "te2"}


@EACH
def test_saved_names_are_the_ones_that_other_programs_expect(name: str, trained: Callable[[str], Any]) -> None:
    _, (_, _, _, lora, *_) = trained(name)
    for prefix in FAMILIES[name].prefixes:
        assert any(key.startswith(prefix) for key in lora), prefix
    foreign = ("lora_te_", "lora_unet_down_blocks_", "lora_unet_up_blocks_", "lora_unet_mid_block_")
    assert [key for key in lora if key.startswith(foreign)] == []


@EACH
def test_every_saved_name_is_known_to_core_and_loads(
    name: str, trained: Callable[[str], Any], inside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    from lora_kiln.host.lora import unmatched_keys
    from lora_kiln.nodes.save import SaveLoRA
    from lora_kiln.trainer.formats import load_file

    (model, clip, _), (_, _, run, lora, *_) = trained(name)
    assert unmatched_keys(model, clip, lora) == []
    with torch.inference_mode(), caplog.at_level("WARNING"):
        (saved,) = SaveLoRA.execute(run, "", 0, "fp16").result
        patched, patched_clip = importlib.import_module("nodes").LoraLoader().load_lora(model, clip, saved, 1.0, 1.0)
    assert "not loaded" not in caplog.text
    assert len(patched.patches) + len(patched_clip.patcher.patches) == len(lora) / 3
    _, metadata = load_file(inside / "models" / "loras" / saved)
    assert metadata["modelspec.prediction_type"] == FAMILIES[name].prediction
    assert metadata["modelspec.architecture"] == FAMILIES[name].architecture


@EACH
def test_a_batch_of_captions_gets_each_picture_its_own_words_and_size(
    name: str, trained: Callable[[str], Any], view: Any
) -> None:
    """Two pictures at once are denoised as each alone: no caption is averaged with another."""
    import torch

    from lora_kiln.host.model import HostModel

    loaded, _ = trained(name)
    model = HostModel(*loaded)
    with torch.inference_mode(), model.open(precision="model's own", checkpointing=False), torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        channels = loaded.model.model.latent_format.latent_channels
        x = torch.randn(2, channels, 16, 16, generator=draw)
        sigma = model.schedule.sigmas()[[100, 700]]
        conds = model.encode_text(["kiln, red, forest", "blue"], [view(128, 128)] * 2, clip_skip=1, max_tokens=0)
        [other] = model.encode_text(["blue"], [view(512, 64)], clip_skip=1, max_tokens=0)
        both = model.denoise(x, sigma, conds)
        alone = [model.denoise(x[i : i + 1], sigma[i : i + 1], conds[i : i + 1]) for i in range(2)]
        swapped = model.denoise(x, sigma, conds[::-1])
        wide = model.denoise(x[1:], sigma[1:], [other])
    scale = float(both.std())
    torch.testing.assert_close(both, torch.cat(alone), rtol=1e-4, atol=1e-4 * scale)
    assert (both - swapped).abs().max() > 1e-3 * scale
    assert ((wide - both[1:]).abs().max() > 1e-3 * scale) == name.startswith("sdxl")
