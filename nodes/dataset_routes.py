"""What the page asks of datasets: their pictures and captions, what edits would do, and writing captions back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ..dataset.browse import chosen_by, file_mark, listed, look
from ..dataset.edits import apply_edits, parse_edits
from ..dataset.errors import BadImage, DatasetError
from ..dataset.picking import with_choices
from ..dataset.select import SelectOptions
from ..dataset.thumbnails import KIND, thumbnail
from ..dataset.values import Dataset, Record, Size
from ..dataset.write_back import WritePlan, plan_write_back, write_back
from ..host.datasets import check_path, is_own_name
from ..host.http import Call, File, Json, Refused, Route
from ..host.paths import backup_folder, cache_folder
from ..host.tokens import count_tokens
from ..trainer.groups import Buckets
from ..trainer.own import bucket_for
from .showing import registry

_MOST_TOLD = 200
"""Lines of a write-back that the page is told; the rest is counted."""
_SIZES = ("resolution", "bucket_step", "min_bucket", "max_bucket")


def pictures(call: Call) -> Json:
    """Every picture of a dataset, with its bucket under the sizes that were asked for.

    One that is not known is answered as `error`: a workflow from elsewhere names those of another machine.
    """
    try:
        return Json(listed(registry().get(call.path["id"]), _bucket(call.query)))
    except DatasetError as error:
        return Json({"error": f"{error}.", "pictures": []})


def picture(call: Call) -> File:
    """A small picture: the whole file, or with `crop=1` the part that is trained on."""
    dataset, query = _dataset(call), call.query
    place, side = _whole(call.path, "number"), _whole(query, "side", 256)
    if not 0 <= place < len(dataset):
        raise Refused(404, f"The dataset has no picture {place}; it has {len(dataset)}.")
    record = dataset.records[place]
    try:
        check_path(record.image)
        if not (mark := file_mark(record)):
            raise Refused(404, "The picture is not there any more, or is a link, which is not shown.")
        crop = record.crop if query.get("crop") == "1" else None
        file = thumbnail(record.image, crop, side, cache_folder() / "thumbnails", background=record.background)
    except BadImage as error:
        raise Refused(404, f"{error.what}. {error.mend}.") from error
    return File(file, KIND, lasting=query.get("mark") == mark)


def see(call: Call) -> Json:
    """What edits and a filter make of a dataset (`dataset.browse.look`)."""
    dataset, body = _dataset(call), call.body
    edits, trial, filter = (_text(body, name) for name in ("edits", "trial", "filter"))
    return Json(look(dataset, edits, trial, filter, count_tokens))


def tokens(call: Call) -> Json:
    """How many tokens a caption has for CLIP."""
    return Json({"tokens": count_tokens(_text(call.body, "text"))})


def selection(call: Call) -> Json:
    """Which pictures Select Images would take; what cannot be read is answered as `error`, as it is being written."""
    body = call.body
    try:
        options = SelectOptions(
            filter=_text(body, "filter"), by_hand=_text(body, "by_hand"), only_kept=body.get("only_kept") is True
        )
        return Json(chosen_by(_dataset(call), options, count_tokens))
    except DatasetError as error:
        return Json({"error": str(error)})


def pick(call: Call) -> Json:
    """The text of a selection after some pictures were kept (true), rejected (false) or left to the node (null)."""
    choices = call.body.get("choices")
    if not isinstance(choices, dict) or not all(kept is None or isinstance(kept, bool) for kept in choices.values()):
        raise Refused(400, 'choices must be names with true, false or null: {"group/name.png": true}.')
    try:
        return Json({"by_hand": with_choices(_text(call.body, "by_hand"), choices)})
    except DatasetError as error:
        return Json({"error": str(error)})


def plan(call: Call) -> Json:
    """What writing the captions back would do, for a person to confirm. Nothing is written."""
    found = _plan(call)
    return Json({
        "mark": found.mark, "same": found.same, "writes": len(found.writes), "left_out": len(found.skipped),
        "new": sum(each.old is None for each in found.writes),
        "files": [{"key": w.key, "file": str(w.file), "old": w.old, "new": w.new} for w in found.writes[:_MOST_TOLD]],
        "skipped": found.skipped[:_MOST_TOLD],
    })  # fmt: skip


def write(call: Call) -> Json:
    """Write the captions of a plan that was confirmed: `mark` says which one."""
    if not is_own_name(call.host):
        raise Refused(
            403,
            f"Captions are written back from a page at localhost or 127.0.0.1 alone, as this server listens to its own "
            f"machine; this page is at {call.host[:80]!r}. Open it there, or start ComfyUI with --listen.",
        )
    found = _plan(call)
    if _text(call.body, "mark") != found.mark:
        raise Refused(409, "The files or the captions have changed since you looked. Look again, then confirm.")
    if not found.writes:
        raise Refused(409, "Every caption stands in its file already.")
    folder = write_back(found, backup_folder(), datetime.now())
    return Json({"written": len(found.writes), "backup": str(folder)})


ROUTES: tuple[Route, ...] = (
    Route("GET", "/dataset/{id}", pictures),
    Route("GET", "/dataset/{id}/picture/{number}", picture),
    Route("POST", "/dataset/{id}/look", see),
    Route("POST", "/dataset/{id}/selection", selection),
    Route("POST", "/pick", pick),
    Route("POST", "/tokens", tokens),
    Route("POST", "/dataset/{id}/write_plan", plan),
    Route("POST", "/dataset/{id}/write_back", write),
)


def _dataset(call: Call) -> Dataset:
    try:
        return registry().get(call.path["id"])
    except DatasetError as error:
        raise Refused(404, f"{error}.") from error


def _plan(call: Call) -> WritePlan:
    edited, _ = apply_edits(_dataset(call), parse_edits(_text(call.body, "edits")), count_tokens)
    return plan_write_back(edited, check_path)


def _bucket(query: Mapping[str, str]) -> Callable[[Record], Size]:
    """From a record to its bucket, by its own settings, those that were asked for and the recipe's defaults."""
    given: dict[str, Any] = {name: _whole(query, name) for name in _SIZES if name in query}
    buckets = Buckets(
        **given,
        bucket_no_upscale=query.get("bucket_no_upscale") == "1",
        enable_bucket=query.get("enable_bucket") != "0",
    )
    known = dict[tuple[Size, tuple[str, ...]], Size]()

    def bucket(record: Record) -> Size:
        key = record.view_size, record.own
        if key not in known:
            known[key] = bucket_for(buckets, record)
        return known[key]

    return bucket


def _whole(values: Mapping[str, Any], name: str, usual: int | None = None) -> int:
    value = values.get(name, usual)
    try:
        return int(value if isinstance(value, str) and len(value) < 20 else _number(value))
    except (ValueError, TypeError):
        raise Refused(400, f"{name} is {str(value)[:40]!r}; give a whole number.") from None


def _number(value: Any) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise Refused(400, f"{name} is {type(value).__name__}; give a text.")
    return value
