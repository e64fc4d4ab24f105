"""The committed models are what their card says, and load as ComfyUI's own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from demo.learn import hostmodels, tagger, vae
from demo.learn.captions import Captioner
from demo.learn.common import Stage, pictures, random_figures
from demo.marking import TAGGER, TAGGERS
from lora_kiln.dataset.tagger import get_tagger, open_tagger

MODELS = TAGGERS.parent


@pytest.fixture
def importable(comfy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's modules can be imported here."""
    monkeypatch.setenv("COMFYUI_PATH", str(comfy))
    hostmodels.import_host()


def test_models_fit_into_the_repository() -> None:
    files = [file for file in MODELS.rglob("*") if file.suffix in (".safetensors", ".onnx")]

    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) <= 45_000_000


def test_padding_leaves_the_autoencoder_the_same_function(importable: None) -> None:
    from comfy.taesd.taesd import TAESD

    torch.manual_seed(0)
    enc, dec = vae.encoder(), vae.decoder()
    vae.initialise(enc, dec)
    wide = TAESD()
    wide.load_state_dict(vae.host_state(enc, dec))
    x = torch.rand(1, 3, 64, 64)

    with torch.no_grad():
        latent = wide.encode(x * 2 - 1)
        torch.testing.assert_close(latent * vae.VAE_SCALE, enc(x), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(wide.decode(latent) / 2 + 0.5, dec(enc(x)), rtol=1e-4, atol=1e-4)


def test_captions_are_tokenised_as_the_host_does_it(importable: None) -> None:
    from comfy.sd1_clip import SD1Tokenizer

    tags = ["1girl", "polka dot dress", "hands on hips", "from side"]

    ours = Captioner().tokens([tags])[0].tolist()

    assert ours == [int(pair[0]) for pair in SD1Tokenizer().tokenize_with_weights(", ".join(tags))["l"][0]]


def test_tagger_reads_held_out_pictures() -> None:
    figures = random_figures(150, "tagger test", strange=0.3)
    found = open_tagger(get_tagger(TAGGER, [TAGGERS])).tag([Image.fromarray(p) for p in pictures(figures)])
    wanted = [set(figure.tags()) for figure in figures]
    seen = [{tag for tag, score in each.general.items() if score > 0.35} for each in found]

    hits = sum(len(a & b) for a, b in zip(wanted, seen, strict=True))
    f1 = 2 * hits / sum(len(a) + len(b) for a, b in zip(wanted, seen, strict=True))

    assert f1 >= 0.9


def test_tagger_vocabulary_is_the_worlds() -> None:
    lines = (TAGGERS / TAGGER / "selected_tags.csv").read_text(encoding="utf-8").splitlines()[5:]

    assert [line.split(",")[1].replace("_", " ") for line in lines] == list(tagger.vocabulary())


def test_report_holds_every_figure() -> None:
    quality = json.loads((MODELS / "quality.json").read_text(encoding="utf-8"))

    assert {"vae_psnr_db", "base_loss", "tagger_f1", "prompt_recall", "bytes"} <= set(quality)
    assert quality["edge_agreement_with"] > quality["edge_agreement_without"] + 0.1


def test_an_interrupted_stage_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    def trained(folder: Path, *, stop_at: int | None) -> np.ndarray:
        torch.manual_seed(0)
        layer = nn.Linear(3, 1)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.05)
        stage = Stage("toy", folder, 12, {"layer": layer, "optimizer": optimizer}, None)
        stage.resume()

        def step(number: int) -> float:
            if number == stop_at:
                stage.save()
                raise KeyboardInterrupt
            x = torch.randn(8, 3, generator=torch.Generator().manual_seed(number))
            loss = (layer(x) - x.sum(1, keepdim=True)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return float(loss.detach())

        stage.run(step)
        return layer.weight.detach().numpy().copy()

    whole = trained(tmp_path / "whole", stop_at=None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "parts", stop_at=5)

    assert np.array_equal(whole, trained(tmp_path / "parts", stop_at=None))
