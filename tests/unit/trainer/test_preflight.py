"""What is told before the first step is what then happens."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lora_kiln.dataset.values import Dataset
from lora_kiln.trainer import loop
from lora_kiln.trainer.errors import KilnError
from lora_kiln.trainer.formats import load_file
from lora_kiln.trainer.ports import ModelTraits
from lora_kiln.trainer.preflight import Preflight, report_of
from lora_kiln.trainer.recipe import Recipe

Pictures = Callable[..., Dataset]

SIZES = {"resolution": 96, "bucket_step": 32, "max_bucket": 128}
"""Room for pictures of 96 x 96 and of 128 x 64."""


@pytest.fixture
def ahead(tmp_path: Path, folder: Any, fake_model: Any, fake_reporter: Any) -> Callable[..., Preflight]:
    def look(
        dataset: Dataset, recipe: Recipe, *, model: Any = None, reporter: Any = None,
        start: dict[str, Tensor] | None = None,
    ) -> Preflight:  # fmt: skip
        return loop.preflight(
            model or fake_model(), dataset, recipe, folder("ahead"), reporter or fake_reporter(),
            latents=tmp_path / "latents", start=start,
        )  # fmt: skip

    return look


@pytest.fixture
def mixed(pictures: Pictures) -> Dataset:
    """Five pictures of two shapes, one without a caption, and one for regularisation."""
    records = [
        *pictures("red", "blue", repeats=3),
        *pictures("lime", size=(128, 64)),
        *pictures("navy", "cyan", tags=()),
        *pictures("gray", is_reg=True, tags=()),
    ]
    return Dataset(records=tuple(records), trigger="kiln")


def test_the_numbers_are_those_of_the_run_that_follows(
    ahead: Any, mixed: Dataset, small_recipe: Any, train: Any, fake_reporter: Any
) -> None:
    recipe = small_recipe(epochs=3, batch=2).with_settings(**SIZES, accumulation=2, validation_share=0.2)
    found: Preflight = ahead(mixed, recipe)
    reporter = fake_reporter()
    run = train(mixed, recipe, reporter=reporter)
    assert found.steps == len(reporter.steps) == reporter.steps[-1].steps
    assert found.epochs == reporter.steps[-1].epoch == len(run.checkpoints)
    assert found.steps_an_epoch == run.checkpoints[0].step
    tensors = {key: value for key, value in load_file(run.checkpoint(0).file)[0].items() if not key.endswith("alpha")}
    assert found.parameters == sum(value.numel() for value in tensors.values())
    assert found.layers == len({key.partition(".")[0] for key in tensors}) == 3
    assert (found.images, found.held_out_images, found.regularisation_images) == (4, 1, 1)
    assert found.seen_an_epoch == sum(found.buckets.values())
    assert found.missing_captions == ("navy.png", "cyan.png")
    assert found.prediction == "epsilon"
    assert found.memory_bytes == max(1000 + 16 * found.parameters, 5000)
    assert found.seconds == found.seconds_a_step * found.steps > 0
    written = json.loads((run.folder / "preflight.json").read_text(encoding="utf-8"))
    same = {key for key, value in dataclasses.asdict(found).items() if json.loads(json.dumps(value)) == written[key]}
    assert set(written) - same == {"seconds_a_step", "seconds", "text"}
    assert report_of(run.folder) == reporter.notes[0]
    assert report_of(run.folder / "nowhere") == ""


def test_the_page_of_words_has_the_numbers(ahead: Any, mixed: Dataset, small_recipe: Any, fake_reporter: Any) -> None:
    reporter = fake_reporter()
    recipe = small_recipe(epochs=3).with_settings(**SIZES, warmup="5 %")
    found = ahead(mixed, recipe, reporter=reporter)
    assert reporter.notes == [found.text()]
    for words in (
        "5 images, 1 for regularisation, 0 held out; 18 seen an epoch (96x96: 17, 128x64: 1)",
        "30 updates: 3 epochs of 10",
        f"{found.parameters:,} trainable parameters on 3 layers; the model predicts epsilon",
        "2 images have no caption: navy.png, cyan.png",
        "warmup 5 % means nothing with constant",
    ):
        assert words in found.text()


def test_looking_ahead_writes_latents_and_nothing_else_and_leaves_the_model_as_it_was(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any, tmp_path: Path
) -> None:
    model = fake_model()
    before = model.snapshot()
    dataset = pictures("red", "blue")
    ahead(dataset, small_recipe(), model=model)
    assert not (tmp_path / "runs").exists()
    assert len(list((tmp_path / "latents").rglob("*.safetensors"))) == 2
    assert all(torch.equal(a, b) for a, b in zip(model.snapshot(), before, strict=True))
    assert not model.is_open
    assert not any("forward" in module.__dict__ for module in model.modules())
    assert model.calls == 1


def test_one_step_is_tried_on_the_largest_size_with_as_many_images_as_there_will_be(
    ahead: Any, mixed: Dataset, small_recipe: Any, fake_model: Any
) -> None:
    model, shapes = fake_model(), []
    denoise = model.denoise

    def watched(x_t: Tensor, *rest: Any) -> Tensor:
        shapes.append(tuple(x_t.shape))
        return torch.as_tensor(denoise(x_t, *rest))

    model.denoise = watched
    ahead(mixed, small_recipe(batch=4).with_settings(**SIZES, bucket_no_upscale=True), model=model)
    ahead(mixed, small_recipe(batch=4).with_settings(**SIZES), model=model)
    # At their own sizes the only wide picture is the largest.
    assert shapes == [(1, 4, 8, 16), (4, 4, 12, 12)]


class Flow:
    """Rectified flow."""

    def sigmas(self) -> Tensor:
        return torch.linspace(0.01, 1, 100)

    def noised(self, x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
        s = sigma.view(-1, 1, 1, 1)
        return (1 - s) * x0 + s * noise

    def denoised_from(self, sigma: Tensor, output: Tensor, x_t: Tensor) -> Tensor:
        return x_t - sigma.view(-1, 1, 1, 1) * output


NOTES: list[tuple[dict[str, Any], str]] = [
    ({"flow_shift": 3.0}, "flow_shift 3 means nothing here: the model predicts epsilon"),
    ({"timestep_sampling": "mode"}, "timestep_sampling mode is made for flow models"),
    ({"scale_v_pred_loss": True}, "scale_v_pred_loss means nothing here"),
    ({"optimizer_type": "Prodigy", "unet_lr": 1e-4, "text_lr": 1e-4}, "unet_lr and text_lr are usually 1"),
    ({"optimizer_type": "AdamWScheduleFree", "ema_decay": 0.9}, "has averaged already; set it to 0"),
    ({"optimizer_type": "Lion", "unet_lr": 1.0}, "rates for Prodigy and D-Adaptation; Lion learns at 0.0001 or so"),
    ({"optimizer_type": "AdamWScheduleFree", "lr_scheduler": "cosine"}, "makes its own schedule; cosine acts on top"),
    ({"warmup": "10 %"}, "warmup 10 % means nothing with constant"),
    ({"caption_variants": 3, "shuffle_caption": True}, "the text encoder learns, so each is still encoded anew"),
    ({"caption_variants": 3, "text_lr": 0.0}, "captions neither shuffle nor drop anything"),
    ({"random_crop": True, "validation_share": 0.3}, "tested at their centre crop"),
    ({"batch_size": 8}, "batch_size is 8; no bucket has more than 3 images an epoch"),
    ({"stop_text_at": "50 %", "text_lr": 0.0}, "stop_text_at 50 % means nothing"),
    ({"stop_text_at": "50 %", "text_encoder_lrs": "0, 0"}, "stop_text_at 50 % means nothing"),
    ({"text_encoder_lrs": "1e-4, 2e-4"}, "text_encoder_lrs 1e-4, 2e-4: number 2 trains nothing here"),
    ({"text_encoder_lrs": "0, 2e-4", "text_lr": 0.0}, "text_lr 0.0002 trains nothing here"),
    ({"token_warmup": "1 %"}, "token_warmup 1 % of 4 updates is less than one: all tags are read"),
    ({"token_warmup_min": 3}, "token_warmup_min 3 means nothing here; it goes with token_warmup."),
    ({"token_warmup": "50 %", "caption_variants": 2}, "token_warmup means nothing with caption_variants"),
    ({"network_type": "LoHa", "network_dropout": 0.1}, "network_dropout means nothing with this kind"),
    ({"network_type": "GLoRA", "rank_dropout": 0.1}, "rank_dropout means nothing with this kind"),
    ({"network_type": "GLoRA", "scale_weight_norms": 1.0}, "scale_weight_norms means nothing with this kind"),
    ({"network_type": "DyLoRA", "scale_weight_norms": 1.0}, "scale_weight_norms means nothing with this kind"),
    ({"lr_scheduler": "cosine", "warmup": "1 %"}, "warmup 1 % of 4 updates is less than one: there is none"),
    ({"lr_scheduler": "cosine", "warmup": "50"}, "warmup 50 is the whole run"),
    ({"lr_scheduler": "warmup_stable_decay", "lr_decay": "1 %"}, "lr_decay 1 % of 4 updates is none"),
    ({"stop_text_at": "1 %"}, "stop_text_at 1 % of 4 updates is less than one: the text encoder stops after the first"),
    (
        {"min_lr_ratio": 0.1},
        "min_lr_ratio 0.1 means nothing here; it goes with lr_scheduler cosine_with_min_lr or warmup",
    ),
    ({"timescale": 9}, "timescale 9 means nothing here; it goes with lr_scheduler inverse_sqrt."),
    ({"optimizer_type": "CAME", "beta1": 0.5}, "beta1 0.5 means nothing with CAME"),
    ({"optimizer_type": "Adafactor", "beta2": 0.99}, "beta2 0.99 means nothing with Adafactor"),
    ({"optimizer_type": "SGD", "beta2": 0.9}, "beta2 0.9 means nothing with SGD"),
    ({"prior_preservation": True}, "prior_preservation means nothing: there are no regularisation images"),
    ({"prior_loss_weight": 0.5}, "prior_loss_weight means nothing: there are no regularisation images"),
    ({"masked_loss": True}, "masked_loss means nothing: no image has a mask beside it or transparent parts"),
    ({"min_bucket": 512, "max_bucket": 1024}, "min_bucket 512 is above resolution 64: every image is cut to a square"),
    ({"conv_dim": 2, "skip_layers": ("conv",)}, "conv_dim 2 trains nothing here: no convolution is left to train"),
    (
        {"keep_tokens": 3, "shuffle_caption": False},
        "keep_tokens 3 means nothing here; it goes with shuffle_caption, tag_dropout or token_warmup.",
    ),
    ({"bucket_no_upscale": True, "resolution": 128}, "max_bucket 64 means nothing with bucket_no_upscale"),
    ({"huber_c": 0.5}, "huber_c 0.5 means nothing here; it goes with loss_type huber or smooth_l1."),
    ({"conv_alpha": 4.0, "conv_dim": 0}, "conv_alpha 4.0 means nothing here; it goes with conv_dim."),
    (
        {"noise_offset_random_strength": True},
        "noise_offset_random_strength True means nothing here; it goes with noise_offset.",
    ),
    (
        {"ip_noise_gamma_random_strength": True},
        "ip_noise_gamma_random_strength True means nothing here; it goes with ip_noise_gamma.",
    ),
]


@pytest.mark.parametrize(("settings", "words"), NOTES, ids=[row[1][:40] for row in NOTES])
def test_settings_that_mean_nothing_together_are_noted(
    ahead: Any, pictures: Pictures, small_recipe: Any, settings: dict[str, Any], words: str
) -> None:
    found = ahead(pictures("red", "blue", "lime"), small_recipe().with_settings(**settings))
    assert len([note for note in found.notes if words in note]) == 1
    assert words in found.text()


def test_a_text_rate_without_a_layer_of_clip_is_noted(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any
) -> None:
    model, layers = fake_model(), fake_model().layers()
    model.layers = lambda: [dataclasses.replace(layer, t5=layer.part == "text") for layer in layers]
    dataset = pictures("red")
    found = ahead(dataset, small_recipe(batch=1), model=model)
    assert found.layers == 2
    [note] = found.notes
    assert "trains nothing here: no layer of CLIP is left to train. T5 is trained with train_t5xxl" in note
    asked = ahead(dataset, small_recipe(batch=1).with_settings(train_t5xxl=True), model=model)
    assert (asked.layers, asked.notes) == (3, ())


def test_layers_of_a_starting_file_that_are_lost_are_named(
    ahead: Any, pictures: Pictures, small_recipe: Any, train: Any
) -> None:
    dataset, recipe = pictures("red"), small_recipe(batch=1)
    start, _ = load_file(train(dataset, recipe).checkpoint(0).file)
    assert ahead(dataset, recipe, start=start).notes == ()
    # What it has counts, also in the file that is saved.
    other = dataclasses.replace(recipe, network=dataclasses.replace(recipe.network, dim=2, alpha=1.0))
    assert ahead(dataset, other, start=start).notes == (
        f"dim is {recipe.network.dim}, as the file to start from has it, not 2.",
        f"alpha is {recipe.network.alpha:g}, as the file to start from has it, not 1.",
    )
    _, about = load_file(train(dataset, other, "gone on", start=start).checkpoint(0).file)
    assert (about["ss_network_dim"], about["ss_network_alpha"]) == (
        f"{recipe.network.dim}", f"{recipe.network.alpha:g}",
    )  # fmt: skip
    strange = {**start, "lora_unet_elsewhere.lora_down.weight": torch.ones(2, 4)}
    [note] = ahead(dataset, recipe, start=strange).notes
    assert note.startswith("1 layer of the file to start from: not trained here")
    assert note.endswith(" lora_unet_elsewhere.")
    [note] = ahead(dataset, recipe.with_settings(text_lr=0.0), start=start).notes
    assert note.endswith("lora_te_words. Give text_lr a value to keep those of the text encoder.")


def test_a_recipe_without_contradictions_has_no_notes(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any
) -> None:
    dataset = pictures("red", "blue", "lime")
    assert ahead(dataset, small_recipe()).notes == ()
    plain = {
        "network_dropout": 0.1, "rank_dropout": 0.1, "stop_text_at": "50 %", "min_snr_gamma": 5.0, "beta1": 0.8,
        "scale_weight_norms": 1.0, "lr_scheduler": "cosine_with_min_lr", "min_lr_ratio": 0.1, "warmup": "20 %",
    }  # fmt: skip
    assert ahead(dataset, small_recipe().with_settings(**plain)).notes == ()
    model = fake_model()
    model.schedule = Flow()
    flowing = {
        "flow_shift": 3.0, "timestep_sampling": "logit_normal", "expected_prediction": "flow",
        "zero_terminal_snr": True,
    }  # fmt: skip
    assert ahead(dataset, small_recipe().with_settings(**flowing), model=model).notes == ()
    for settings, words in (
        ({"min_snr_gamma": 5.0}, "on a flow model it weighs middle noise levels"),
        ({"debiased_estimation": True}, "on a flow model it favours the highest noise"),
        ({"noise_offset": 0.1}, "kohya's scripts leave it out on flow models"),
    ):
        [note] = ahead(dataset, small_recipe().with_settings(**settings), model=model).notes
        assert note.startswith(next(iter(settings)))
        assert words in note
    # 3 * 0.25 / (1 + 2 * 0.25) and 3 * 0.499 / (1 + 2 * 0.499).
    bent = small_recipe().with_settings(flow_shift=3.0, min_timestep=250, max_timestep=500)
    assert ahead(dataset, bent, model=model).notes == (
        "min_timestep 250 and max_timestep 500 count before the shift: noise from 0.50 to 0.75 of 1 is trained.",
    )


def test_a_text_encoder_that_is_asked_at_every_step_is_told_on_a_gpu(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any
) -> None:
    model = fake_model()
    traits = model.traits()
    model.traits = lambda: dataclasses.replace(traits, device="mps")
    asking = small_recipe().with_settings(text_lr=0.0, shuffle_caption=True, keep_tokens=0)
    [note] = ahead(pictures("red", "blue", "lime"), asking, model=model).notes
    assert note.startswith("3 captions of 3 differ each time")
    assert "it is asked in nearly every step. caption_variants 10" in note
    prose = [dataclasses.replace(one, tags=(), prose="a red picture, seen twice") for one in pictures("red", "blue")]
    assert ahead(Dataset(records=tuple(prose)), asking, model=model).notes == ()
    for settings in ({"caption_variants": 4}, {"shuffle_caption": False}, {"keep_tokens": 1}, {"text_lr": 1e-4}):
        assert ahead(pictures("red", "blue", "lime"), asking.with_settings(**settings), model=model).notes == ()


def test_images_that_are_left_out_and_masks_that_are_not_there_are_told(
    ahead: Any, pictures: Pictures, small_recipe: Any
) -> None:
    dataset = Dataset(records=(*pictures("red", "blue"), *pictures("gray", is_reg=True, repeats=5)))
    recipe = small_recipe(batch=1).with_settings(masked_loss=True)
    first, second = ahead(dataset, recipe).notes
    assert first.startswith("3 regularisation images too many, repeats counted, are left out")
    assert second.startswith("masked_loss means nothing")
    masked = [dataclasses.replace(record, mask=record.image) for record in pictures("red", "blue")]
    assert ahead(Dataset(records=tuple(masked)), recipe).notes == ()
    [note] = ahead(pictures("red"), small_recipe(batch=1).with_settings(validation_share=0.2)).notes
    assert note == "validation_share means nothing: a single image is not held out."


def test_too_little_memory_says_what_takes_less(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any, train: Any
) -> None:
    model = fake_model()

    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")

    model.denoise = full
    words = r"too small for 2 x 64x64 pixels: switch gradient_checkpointing on, or lower batch_size from 2 .*CUDA out"
    with pytest.raises(KilnError, match=words):
        ahead(pictures("red", "blue"), small_recipe(batch=2), model=model)
    with pytest.raises(KilnError, match=words):
        train(pictures("red", "blue"), small_recipe(batch=2), model=model)
    assert not model.is_open
    assert not any("forward" in module.__dict__ for module in model.modules())


# What is refused before a picture is encoded, and what needs the model's layers.
EARLY: list[tuple[dict[str, Any], str]] = [
    ({"expected_prediction": "v"}, "expected_prediction is 'v', and this model predicts epsilon"),
    ({"zero_terminal_snr": True}, r"zero_terminal_snr is on.*SNR 0\.25.*ModelSamplingDiscrete with zsnr"),
    ({"clip_skip": 13}, "clip_skip is 13, and CLIP has 12 layers here"),
    ({"precision": "fp16"}, "precision is fp16, which a CPU"),
    ({"optimizer_type": "AdamW8bit"}, "AdamW8bit needs"),
    ({"block_preset": "OUTD"}, "this model has no such blocks"),
    ({"block_dims": "4,4"}, "this model has no such blocks"),
    ({"conv_block_alphas": "4,4"}, "this model has no such blocks"),
    ({"unet_lr": 0.0, "stop_text_at": "50 %"}, "with unet_lr 0 nothing would learn"),
    ({"unet_lr": 0.0, "stop_text_at": "1 %", "epochs": 9}, "with unet_lr 0 nothing would learn"),
    ({"optimizer_args": ("fast=True",)}, "AdamW does not take fast"),
    ({"optimizer_type": "Prodigy", "unet_lr": 1.0, "text_lr": 0.5}, "learns everything at one rate"),
    ({"optimizer_type": "Prodigy", "unet_lr": 1.0, "text_encoder_lrs": "1, 0.5"}, "learns everything at one rate"),
    ({"network_args": ("rs_loraa=True",)}, "network_args: LoRA does not take rs_loraa"),
]
LATE: list[tuple[dict[str, Any], str]] = [
    (
        {"optimizer_type": "Prodigy", "unet_lr": 1.0, "text_lr": 1.0, "loraplus_unet_lr_ratio": 4.0},
        "learns everything at one rate",
    ),
    ({"only_layers": ("nowhere",)}, "No layer is left to train"),
]


@pytest.mark.parametrize(("settings", "words"), [*EARLY, *LATE], ids=[row[1][:40] for row in (*EARLY, *LATE)])
def test_settings_that_would_train_something_else_are_refused_before_and_by_the_run(
    ahead: Any, pictures: Pictures, small_recipe: Any, train: Any, folder: Any, tmp_path: Path,
    settings: dict[str, Any], words: str,
) -> None:  # fmt: skip
    recipe = small_recipe().with_settings(**settings)
    for run in (ahead, train):
        with pytest.raises(KilnError, match=words):
            run(pictures("red"), recipe)
    assert not folder("run").folder.exists()
    # Encoding takes minutes where there are many pictures.
    assert (tmp_path / "latents").exists() == ((settings, words) in LATE)


def test_clip_skip_is_refused_where_there_is_no_clip(
    ahead: Any, pictures: Pictures, small_recipe: Any, fake_model: Any
) -> None:
    model = fake_model()
    model.traits = lambda: ModelTraits(device="cpu", clip_layers=0, weight_bytes=0)
    with pytest.raises(KilnError, match="this model's text encoder is not CLIP, or not CLIP alone; set it to 1"):
        ahead(pictures("red"), small_recipe().with_settings(clip_skip=2), model=model)
    ahead(pictures("red"), small_recipe(), model=model)


def test_pictures_with_settings_of_their_own_are_told(ahead: Any, mixed: Dataset, small_recipe: Any) -> None:
    recipe = small_recipe(epochs=3, batch=2).with_settings(**SIZES)
    own = ("keep_tokens=0", "resolution=64")
    rows = [dataclasses.replace(record, own=own if i < 2 else ()) for i, record in enumerate(mixed)]
    found: Preflight = ahead(mixed.replace_records(rows), recipe)
    assert "2 images with settings of their own: keep_tokens=0, resolution=64." in found.notes
    assert found.buckets["64x64"] == sum(record.repeats for record in rows[:2])
    wrong = mixed.replace_records([dataclasses.replace(rows[0], own=("dim=4",)), *rows[1:]])
    with pytest.raises(KilnError, match=r"red\.png has settings of its own: 'dim=4' is no setting of single pictures"):
        ahead(wrong, recipe)
