"""The painter on the host's sampler: when ControlNets run, what the page sees, and other families than SD1.5."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

STEPS = 10


@pytest.fixture
def scenery() -> Image.Image:
    """Something with edges."""
    pixels = np.full((64, 64, 3), 220, dtype=np.uint8)
    pixels[16:48, 16:48] = (40, 80, 160)
    return Image.fromarray(pixels)


@pytest.fixture
def painter(inside: Path) -> Callable[..., Any]:
    """A painter on loaded models; each ControlNet looks at the source, at the given span."""

    def make(loaded: Sequence[Any], nets: Sequence[Any] = (), watch: Any = None, **given: Any) -> Any:
        from lora_kiln.host.painting import Guide, StylePainter
        from lora_kiln.host.sampling import Control, Sampling

        span = {name: given.pop(name, usual) for name, usual in (("strength", 1.0), ("start", 0.0), ("end", 1.0))}
        hint = given.pop("hint", lambda source, _: source)
        settings = Sampling(**{"steps": 4, "cfg": 2.0, "sampler": "euler", "scheduler": "normal", **given})
        guides = [Guide(control=Control(net=net, **span), hint=hint, mark=lambda _: "source") for net in nets]
        return StylePainter(*loaded, guides, "", settings, watch)

    return make


@pytest.fixture
def control_net(inside: Path, root: Path) -> Any:
    """The miniature world's ControlNet."""
    with torch.inference_mode():
        file = root / "demo" / "models" / "controlnet" / "kiln-world-canny.safetensors"
        return importlib.import_module("comfy.controlnet").load_controlnet(str(file))


def steered_steps(
    make: Callable[..., Any], loaded: Sequence[Any], net: Any, picture: Any, denoise: float, **given: Any
) -> list[int]:
    """The steps, from 0, in which the ControlNet's network ran."""
    step, ran = 0, set()

    def watch(number: int, *_: Any) -> None:
        nonlocal step
        step = number + 1

    hook = net.control_model.register_forward_pre_hook(lambda *_: ran.add(step))
    try:
        with torch.inference_mode():
            make(loaded, [net], watch, steps=STEPS, **given).scene(picture, 0)(picture, "1girl", 1, denoise)
    finally:
        hook.remove()
    return sorted(ran)


def test_a_variant_is_what_a_graph_of_cores_nodes_paints(
    painter: Any, world: Any, control_net: Any, scenery: Any
) -> None:
    """Pixel for pixel, and every time: encode, apply the ControlNet, KSampler, decode."""
    core = importlib.import_module("nodes")
    pixels = torch.from_numpy(np.asarray(scenery, dtype=np.float32) / 255)[None]
    model, clip, vae = world
    with torch.inference_mode():
        conds = [core.CLIPTextEncode().encode(clip, words)[0] for words in ("sketch, 1girl", "")]
        conds = core.ControlNetApplyAdvanced().apply_controlnet(*conds, control_net, pixels, 0.7, 0.0, 1.0, vae=vae)
        [latent] = core.VAEEncode().encode(vae, pixels)
        [latent] = core.KSampler().sample(model, 5, 4, 2.0, "euler", "normal", *conds, latent, denoise=0.6)
        [wanted] = core.VAEDecode().decode(vae, latent)
        paint = painter(world, [control_net], strength=0.7).scene(scenery, 0)
        found = [np.asarray(paint(scenery, "sketch, 1girl", 5, 0.6)) for _ in range(2)]
    np.testing.assert_array_equal(found[0], (wanted[0] * 255).round().to(torch.uint8).numpy())
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("scheduler", ["normal", "karras", "exponential", "simple", "sgm_uniform", "ddim_uniform"])
@pytest.mark.parametrize("denoise", [0.35, 0.6, 1.0])
def test_a_control_net_runs_in_its_share_of_the_steps(
    scheduler: str, denoise: float, painter: Any, world: Any, control_net: Any, scenery: Any
) -> None:
    """Whatever the schedule: the host counts spans in its own shares of the noise."""
    found = steered_steps(painter, world, control_net, scenery, denoise, scheduler=scheduler, start=0.2, end=0.6)
    assert found == [2, 3, 4, 5]


@pytest.mark.parametrize(
    ("start", "end", "steps"),
    [(0.0, 1.0, range(10)), (0.0, 0.45, range(5)), (0.05, 0.45, range(1, 5)), (0.5, 1.0, range(5, 10))],
)
def test_borders_of_a_span(
    start: float, end: float, steps: range, painter: Any, world: Any, control_net: Any, scenery: Any
) -> None:
    found = steered_steps(painter, world, control_net, scenery, 0.6, scheduler="karras", start=start, end=end)
    assert found == list(steps)


def test_a_control_net_brings_the_lines_of_the_source_into_a_blank_start(
    painter: Any, world: Any, control_net: Any
) -> None:
    from demo.world.characters import characters
    from demo.world.draw import draw
    from lora_kiln.dataset.lines import edge_agreement
    from lora_kiln.host.painting import canny_hint

    source, blank = draw(characters()["mirelva"].picture(1)).image, Image.new("RGB", (128, 128), (190, 190, 190))
    agreement = []
    for nets in ([], [control_net]):
        style = painter(world, nets, steps=8, hint=canny_hint(0.1, 0.3))
        with torch.inference_mode():
            pictures = [style.scene(source, 0)(blank, "1girl, solo, full body", seed, 1.0) for seed in (1, 2)]
        agreement.append(np.mean([edge_agreement(source, picture) for picture in pictures]))
    assert agreement[1] > agreement[0] + 0.1


def test_a_model_of_flow_counts_as_well(painter: Any, world: Any, control_net: Any, scenery: Any) -> None:
    """Core's node turns the model's schedule into one of rectified flow with a shift."""
    node = importlib.import_module("comfy_extras.nodes_model_advanced").ModelSamplingSD3()
    [model] = node.patch(world.model, 3.0)
    loaded = model, world.clip, world.vae
    found = steered_steps(painter, loaded, control_net, scenery, 0.6, scheduler="simple", start=0.2, end=0.6)
    assert found == [2, 3, 4, 5]


def test_the_page_sees_a_live_preview(painter: Any, world: Any, scenery: Any) -> None:
    """The host's own, as it is set to; the bar moves with the steps."""
    args = importlib.import_module("comfy.cli_args")
    utils = importlib.import_module("comfy.utils")
    from lora_kiln.host.progress import Progress

    heard: list[tuple[float, float, Any]] = []
    before = args.args.preview_method, utils.PROGRESS_BAR_HOOK
    args.args.preview_method = args.LatentPreviewMethod.Latent2RGB
    utils.set_progress_bar_global_hook(
        lambda value, total, preview, node_id=None: heard.append((value, total, preview))
    )
    try:
        progress = Progress(3)
        progress(1, 3)
        paint = painter(world, watch=progress.watch(world.model)).scene(scenery, 0)
        with torch.inference_mode():
            # The second painting of one picture, as where colours are held, does not move the bar back.
            for denoise in (0.6, 0.3):
                paint(scenery, "1girl", 1, denoise)
    finally:
        args.args.preview_method = before[0]
        utils.set_progress_bar_global_hook(before[1])
    assert [value for value, _, _ in heard] == pytest.approx([1, 1.2, 1.4, 1.6, 1.8, 1.8, 1.8, 1.8, 1.8])
    assert {total for _, total, _ in heard} == {3}
    kind, picture, _ = heard[-1][2]
    assert kind == "JPEG"
    assert np.asarray(picture).std() > 1


@pytest.mark.parametrize("family", ["sdxl", "sdxl-v", "sd3"])
def test_other_families_paint(
    family: str, painter: Any, inside: Path, load_checkpoint: Callable[[str], Any], scenery: Any
) -> None:
    from demo.variants import write_checkpoint
    from lora_kiln.host.painting import PromptPainter
    from lora_kiln.host.sampling import Sampling

    loaded = load_checkpoint(write_checkpoint(family, inside / "models" / "checkpoints").name)
    with torch.inference_mode():
        variants = [painter(loaded).scene(scenery, 0)(scenery, words, 1, 0.6) for words in ("sketch", "sketch", "ink")]
        settings = Sampling(steps=2, cfg=2.0, sampler="euler", scheduler="normal")
        drawn = PromptPainter(*loaded, "", settings)("1girl", 1, (128, 64))
    assert variants[0].size == scenery.size
    assert variants[0].tobytes() == variants[1].tobytes() != variants[2].tobytes()
    assert drawn.size == (128, 64)
    assert np.asarray(drawn).std() > 1


def test_a_union_control_net_of_flux_steers(
    painter: Any, inside: Path, load_checkpoint: Callable[[str], Any], scenery: Any
) -> None:
    """A tiny untrained Flux and union ControlNet of the host's own classes; the type is set by core's node."""
    from demo.variants import write_checkpoint
    from lora_kiln.host.marks import control_mark

    parts = {
        name: importlib.import_module(f".architectures.{name}", __package__)
        for name in ("reading", "table", "texts", "trial")
    }
    flux = importlib.import_module("comfy.ldm.flux.model")
    networks = importlib.import_module("comfy.ldm.flux.controlnet")
    controls = importlib.import_module("comfy.controlnet")
    union = importlib.import_module("comfy_extras.nodes_controlnet").SetUnionControlNetType
    with torch.inference_mode():
        model = parts["trial"].build(parts["table"].FAMILIES["Flux"])
        clip = parts["reading"].make_clip(parts["texts"].TEXTS["CLIP-L and T5"])
        vae = load_checkpoint(write_checkpoint("sd3", inside / "models" / "checkpoints").name).vae
        sizes = model.model.model_config.unet_config
        sizes = {one.name: sizes[one.name] for one in dataclasses.fields(flux.FluxParams) if one.name in sizes}
        network = networks.ControlNetFlux(
            latent_input=True, num_union_modes=8, control_latent_channels=16, dtype=torch.float32, device="cpu",
            operations=importlib.import_module("comfy.ops").manual_cast, **sizes,
        )  # fmt: skip
        parts["trial"].fill(network, torch.Generator().manual_seed(5))
        latents = importlib.import_module("comfy.latent_formats").Flux()
        net = controls.ControlNet(
            network, compression_ratio=1, latent_format=latents, load_device=torch.device("cpu"),
            extra_conds=["y", "guidance"],
        )  # fmt: skip
        kinds = [union.execute(net, kind).result[0] for kind in ("depth", "canny/lineart/anime_lineart/mlsd")]
        painted = [
            painter((model, clip, vae), nets, cfg=1.0, scheduler="simple").scene(scenery, 0)(scenery, "ink", 1, 0.6)
            for nets in ([], kinds[:1], kinds[1:], kinds)
        ]
    assert len({picture.tobytes() for picture in painted}) == 4
    assert control_mark(kinds[0]) != control_mark(kinds[1])
