"""`python dev.py world`: train every model of the miniature world from nothing, and say how good they are.

Stages: autoencoder, tagger, latents, base model, ControlNet, report. Each saves itself once a minute into `--work`
and goes on where it stopped; a finished stage is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from .learn import base, control, export, hostmodels, tagger, vae
from .learn.quality import measure
from .mount import ROOT

QUALITY = export.MODELS / "quality.json"
LIMIT_BYTES = 45_000_000


def main(arguments: list[str]) -> int:
    """Train what is missing, write the model files and the report."""
    parser = argparse.ArgumentParser(prog="dev.py world", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / ".host" / "world", help="where unfinished stages lie")
    options = parser.parse_args(arguments)
    hostmodels.import_host()
    quality = train_world(options.work)
    QUALITY.write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")
    for name, value in quality.items():
        print(f"{name:28} {value}")
    return 0


def train_world(work: Path) -> dict[str, Any]:
    """Every stage in order; returns what the report says."""
    enc, dec = vae.train(work)
    net = tagger.train(work, enc, dec)
    tagger.settle(net, enc, dec)
    tagger.export(net, export.TAGGER)
    data = base.pool(work, enc)
    model = base.train(work, data)
    export.save_checkpoint(model, enc, dec)
    steering = control.train(work, data, model)
    export.save_controlnet(steering)
    found = {
        "vae_psnr_db": round(vae.psnr(enc, dec), 2),
        "base_loss": round(base.held_out_loss(model, enc), 5),
        "tagger_f1": round(tagger.f1(net), 4),
        **measure(),
    }
    files = [export.CHECKPOINT, export.CONTROLNET, *export.TAGGER.iterdir()]
    found["bytes"] = sum(file.stat().st_size for file in files)
    if found["bytes"] > LIMIT_BYTES:
        raise SystemExit(f"The models take {found['bytes']} bytes, more than the {LIMIT_BYTES} that the pack carries.")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
