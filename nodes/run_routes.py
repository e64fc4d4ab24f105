"""What the page asks of runs and sweeps."""

from __future__ import annotations

from pathlib import Path

from ..dataset.thumbnails import KIND, SIDES, thumbnail
from ..host.datasets import is_own_name
from ..host.http import Call, File, Json, Refused, Route, inside
from ..host.live import DESK
from ..host.lora import run_root
from ..host.paths import cache_folder
from ..sweep.watch import cell_file, read_sweep
from ..trainer.runs import RESERVED, go_on
from ..trainer.watch import overview, runs, steps_after

STOP, SAMPLE, GO_ON = "stop", "sample", "go on"


def training(call: Call) -> Json:
    """What trains now, in this process: stage or step, and what was asked of it."""
    return Json({"trainings": DESK.all()})


def run_list(call: Call) -> Json:
    """All runs, or those of the name in the address (`?name=`), the newest first."""
    return Json({"runs": runs(run_root(), call.query.get("name", ""))})


def run_about(call: Call) -> Json:
    """A run without its steps."""
    return Json(overview(_run_folder(call)))


def run_steps(call: Call) -> Json:
    """The steps behind those that the page has (`?place=&step=`, see `trainer.watch.steps_after`)."""
    return Json(steps_after(_run_folder(call), _number(call, "place"), _number(call, "step")))


def sample(call: Call) -> File:
    """A sample picture, whole or with `?side=` small."""
    return _picture(inside(_run_folder(call), f"samples/{call.path['file']}"), call)


def sweep_about(call: Call) -> Json:
    """Scores, choice and cells of a sweep in a run's folder."""
    return Json(read_sweep(_run_folder(call), call.path["sweep"]))


def cell(call: Call) -> File:
    """A cell's picture, whole or with `?side=` small."""
    cells = cache_folder() / "cells"
    return _picture(cell_file(_run_folder(call), call.path["sweep"], call.path["key"], cells), call)


def ask(call: Call) -> Json:
    """`{"what": "stop" | "sample" | "go on"}` of the run: the first two while it trains here, the last of one that was
    stopped and kept."""
    if not is_own_name(call.host):
        raise Refused(
            403,
            "A training is stopped, sampled and gone on with from a page at localhost or 127.0.0.1 alone, as this "
            f"server listens to its own machine; this page is at {call.host[:80]!r}. Open it there, or start ComfyUI "
            "with --listen.",
        )
    folder, what = _run_folder(call), call.body.get("what")
    if what == GO_ON:
        go_on(folder)
    elif what not in (STOP, SAMPLE):
        raise Refused(400, f"what is {what!r}; there are {STOP!r}, {SAMPLE!r} and {GO_ON!r}.")
    elif not DESK.ask(folder.name, stop=what == STOP, sample=what == SAMPLE):
        raise Refused(409, f"{folder.name} does not train now, so there is nothing to {what}.")
    return Json({"run": folder.name, "what": what})


def _run_folder(call: Call) -> Path:
    name = call.path["run"]
    if "/" in name or name.casefold() in RESERVED:
        raise Refused(404, "There is no such run.")
    folder = inside(run_root(), name)
    if not (folder / "run.json").is_file():
        raise Refused(404, "There is no such run.")
    return folder


def _picture(file: Path, call: Call) -> File:
    """The addresses of pictures hold a mark of their content, so browsers may keep them."""
    if file.suffix != ".png":
        raise Refused(404, "There is no such picture.")
    if "side" not in call.query:
        return File(file, "image/png", lasting=True)
    side = _number(call, "side")
    if side not in SIDES:
        raise Refused(400, f"side is {side}; there are {', '.join(map(str, SIDES))}.")
    return File(thumbnail(file, None, side, cache_folder() / "thumbnails"), KIND, lasting=True)


def _number(call: Call, name: str) -> int:
    """A whole number of the address, 0 when it is not there."""
    text = call.query.get(name, "0")
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise Refused(400, f"{name} is {text[:40]!r}; give a whole number.")
    return int(text)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/training", training),
    Route("GET", "/runs", run_list),
    Route("GET", "/runs/{run}", run_about),
    Route("GET", "/runs/{run}/steps", run_steps),
    Route("GET", "/runs/{run}/samples/{file}", sample),
    Route("GET", "/runs/{run}/sweeps/{sweep}", sweep_about),
    Route("GET", "/runs/{run}/sweeps/{sweep}/{key}", cell),
    Route("POST", "/runs/{run}/ask", ask),
)
