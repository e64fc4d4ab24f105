"""The pack's addresses on the host's web server, and who may ask there.

A handler is a plain function of a `Call`; it runs in a thread of its own, so it may read files and decode pictures.
Everything below `PREFIX` reads only, except what is declared as POST, which no page but the host's own can send.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PREFIX = "/kiln"
"""Before the path of every route; the host answers under `/api/kiln` too."""
MOST_BYTES = 8 << 20
"""No larger body is read: the edits of ten thousand captions are a tenth of it."""
MOST_QUERY = 4096
"""Characters of all that stands in an address."""
_THREADS = 3
"""As many pictures are made small at once; more would take the processor from training."""


class Refused(Exception):
    """Raised by a handler, or before it: the answer is `status` with `words` that say what to do."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What was asked: the variables of the route's path, those of the address, and the JSON object that came with it.

    `body` is empty for GET. Nothing of it has been checked but its form.
    """

    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    host: str = ""
    """The name, and port, that it was sent to."""


@dataclass(frozen=True, slots=True)
class Json:
    """An answer of plain values. NaN and infinity, which JSON lacks, are an error."""

    value: Any


@dataclass(frozen=True, slots=True)
class File:
    """An answer that is a file, sent under `kind` (a media type) and never taken for anything else.

    `lasting` says that what the address stands for never changes, so that browsers need not ask again.
    """

    path: Path
    kind: str
    lasting: bool = False


Handler = Callable[[Call], Json | File]
"""May raise `Refused`, and `ValueError` with words for the user, which is answered as 400."""


@dataclass(frozen=True, slots=True)
class Route:
    """An address: `path` begins after `PREFIX` and may hold `{name}` or `{name:.+}`. `method` is GET or POST."""

    method: str
    path: str
    handler: Handler


def register(routes: Iterable[Route]) -> bool:
    """Add the routes to the host's server; False where none runs, as in tests that import the pack alone."""
    # Importing it would start to make one where there is none.
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if server is None:
        return False
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="kiln-routes")
    for route in routes:
        server.routes.route(route.method, PREFIX + route.path)(_answering(route, threads))
    return True


def inside(root: Path, relative: str) -> Path:
    """The file or folder `relative` (with / between names) below `root`, links followed.

    `Refused` (404) for what leads outside by `..`, a link or a drive, for names that no file has, and for what is not
    there: who asks cannot tell these apart.
    """
    gone = Refused(404, "There is no such file.")
    parts = relative.split("/")
    if any(part in ("", ".", "..") or any(sign in part for sign in "\\:\0") for part in parts):
        raise gone
    try:
        whole = root.resolve()
        found = whole.joinpath(*parts).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        # Too long a name, a circle of links, or nothing there.
        raise gone from None
    if whole not in found.parents:
        raise gone
    return found


def refusal(method: str, headers: Mapping[str, str]) -> Refused | None:
    """Why a request is not answered, by its headers alone; None for one that the host's own page may have sent.

    Another site's page can make a browser send requests here, and with some of them even a body. It can neither leave
    out nor choose Origin and Sec-Fetch-Site; and JSON it can only send after asking first, which we never allow. Two
    headers are looked at because browsers send the second to localhost and by TLS only.
    """
    origin, host = headers.get("Origin"), headers.get("Host", "")
    if headers.get("Sec-Fetch-Site", "none").lower() not in ("same-origin", "none"):
        return Refused(403, "Only this server's own page may ask here.")
    if origin is not None and not _same(origin, host):
        return Refused(403, f"Only this server's own page may ask here, and this one came from {origin!r}.")
    if method != "POST":
        return None
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/json":
        return Refused(415, "Send the content as application/json.")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        return Refused(415, "Send the content as it is, not compressed.")
    if not headers.get("Content-Length", "0").isdecimal() or int(headers.get("Content-Length", "0")) > MOST_BYTES:
        return Refused(413, f"More than {MOST_BYTES >> 20} MiB were sent; send less at a time.")
    return None


def _same(origin: str, host: str) -> bool:
    """Whether an Origin (`http://name:port`) names the host that was asked (`name:port`)."""
    scheme, mark, place = origin.lower().partition("://")
    usual = {"http": ":80", "https": ":443"}.get(scheme)
    if not mark or usual is None or not place:
        return False
    return place.removesuffix(usual) == host.lower().removesuffix(usual)


def parse_body(content: bytes) -> dict[str, Any]:
    """The JSON object that was sent. Raises `Refused`."""
    try:
        found = json.loads(content.decode("utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Refused(400, "What was sent is no JSON that can be read.") from error
    if not isinstance(found, dict):
        raise Refused(400, f"Send a JSON object, not {type(found).__name__}.")
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _answering(route: Route, threads: ThreadPoolExecutor) -> Callable[[Any], Any]:
    """The handler in the form that the host's web server calls."""

    async def answer(request: Any) -> Any:
        try:
            if refused := refusal(request.method, request.headers):
                raise refused
            if len(request.query_string) > MOST_QUERY or len(request.path) > MOST_QUERY:
                raise Refused(414, "The address is too long.")
            body = parse_body(await _read(request)) if request.method == "POST" else {}
            asked = request.headers.get("Host", "")
            call = Call(path=dict(request.match_info), query=dict(request.query), body=body, host=asked)
            return _response(await asyncio.get_running_loop().run_in_executor(threads, route.handler, call))
        except Refused as error:
            return _error(error.status, error.words)
        except ValueError as error:
            return _error(400, str(error))

    return answer


async def _read(request: Any) -> bytes:
    """The body, if it is not too large: its length need not have been told."""
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > MOST_BYTES:
            raise Refused(413, f"More than {MOST_BYTES >> 20} MiB were sent; send less at a time.")
    return bytes(content)


def _response(found: Json | File) -> Any:
    from aiohttp import web

    if isinstance(found, Json):
        text = json.dumps(found.value, allow_nan=False, ensure_ascii=False)
        return web.Response(text=text, content_type="application/json", headers=_headers("no-store"))
    kept = "private, max-age=31536000, immutable" if found.lasting else "private, no-cache"
    # Whatever a file holds, the browser takes it for what we say, and runs nothing in it with the page's rights.
    return web.FileResponse(found.path, headers={"Content-Type": found.kind, **_headers(kept)})


def _error(status: int, words: str) -> Any:
    from aiohttp import web

    text = json.dumps({"error": words}, ensure_ascii=False)
    return web.Response(status=status, text=text, content_type="application/json", headers=_headers("no-store"))


def _headers(cache: str) -> dict[str, str]:
    return {
        "Cache-Control": cache,
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Content-Type-Options": "nosniff",
    }
