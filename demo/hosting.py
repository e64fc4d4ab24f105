"""Run a real ComfyUI server as a child process, and queue workflows to it over HTTP and websocket."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import requests
import websocket

from .base import free_port, has_accelerator, host_command, host_environment, host_folder, prepare_base

logger = logging.getLogger(__name__)

ENDINGS = ("execution_success", "execution_error", "execution_interrupted")
REPLY_SECONDS = 30.0
STOP_SECONDS = 10.0


class HostError(RuntimeError):
    """The host refused or failed a workflow, or would not run.

    The fields that name a node are empty when no node is to blame.
    """

    def __init__(
        self,
        message: str,
        *,
        node_id: str = "",
        node_type: str = "",
        exception_type: str = "",
        exception_message: str = "",
        traceback: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.node_id = node_id
        self.node_type = node_type
        self.exception_type = exception_type
        self.exception_message = exception_message
        self.traceback = tuple(traceback)


class HostInterrupted(HostError):
    """The workflow was interrupted before its end."""


# How the host begins a message of text for a node, among its binary ones.
_TEXT = (3).to_bytes(4, "big")


class Message(NamedTuple):
    """One thing that the host pushed: ``progress``, ``progress_state``, ``progress_text``, ``executing``, …"""

    kind: str
    data: dict[str, Any]


class Host:
    """A ComfyUI server of our own on a free port of this machine; a context manager.

    ``base`` becomes its base directory (see ``prepare_base``), ``cpu`` forces or forbids ``--cpu`` (it is
    given by default when there is no accelerator), ``extra`` are further arguments for ComfyUI, ``environ``
    further environment variables, ``start_timeout`` is in seconds.
    """

    def __init__(
        self,
        base: Path,
        *,
        cpu: bool | None = None,
        extra: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        start_timeout: float = 300.0,
    ) -> None:
        self.base = prepare_base(base)
        self.folder = host_folder()
        self.log = self.base / "host.log"
        self.port = 0
        self._cpu = cpu
        self._extra = tuple(extra)
        self._environ = {**os.environ, **(environ or {})}
        self._start_timeout = start_timeout
        self._client = uuid.uuid4().hex
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Host:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The server's address, without a closing slash."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers; ``HostError`` with the log's tail when it does not."""
        if self._process is not None:
            raise HostError(f"This host already runs at {self.url}. Stop it first, or make another Host.")
        self.port = free_port()
        cpu = self._cpu if self._cpu is not None else not has_accelerator()
        # API nodes reach for the internet at start and are no part of any workflow here.
        extra = ["--disable-api-nodes", *self._extra]
        command = host_command(self.folder, self.base, self.port, cpu=cpu, extra=extra)
        env = host_environment(self.folder, self._environ)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, cwd=self.base, env=env, stdout=log, stderr=subprocess.STDOUT)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server: ask first, kill after ten seconds. Does nothing when it is not running."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._process is not None and self._process.poll() is None

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the server's log."""
        if not self.log.exists():
            return ""
        with self.log.open(encoding="utf-8", errors="replace") as log:
            return "".join(deque(log, maxlen=lines)).rstrip()

    def object_info(self) -> dict[str, Any]:
        """Every node that the server knows, by id."""
        return self._json("GET", "/object_info")

    def history(self, prompt_id: str) -> dict[str, Any]:
        """What the server keeps of one workflow (``outputs``, ``status``); empty until it has ended."""
        entry: dict[str, Any] = self._json("GET", f"/history/{prompt_id}").get(prompt_id, {})
        return entry

    def view(self, image: Mapping[str, str]) -> bytes:
        """The bytes of an output image, given its entry in the history (``filename``, ``subfolder``, …)."""
        reply = self._request("GET", "/view", params=dict(image))
        reply.raise_for_status()
        return reply.content

    def queue(self, prompt: Mapping[str, Any]) -> str:
        """Queue a workflow in API form and return its id; ``HostError`` when the server finds it invalid."""
        body = {"prompt": prompt, "client_id": self._client}
        reply = self._request("POST", "/prompt", json=body)
        if reply.status_code == 400:
            raise _refusal(reply.json())
        reply.raise_for_status()
        answer = reply.json()
        if answer.get("node_errors"):
            # One good output is enough for the server; it would leave the others out without a word.
            self._request("POST", "/queue", json={"delete": [answer["prompt_id"]]})
            raise _refusal(answer)
        return str(answer["prompt_id"])

    def interrupt(self) -> None:
        """Ask the server to stop the workflow that runs now."""
        self._request("POST", "/interrupt", json={}).raise_for_status()

    def stop_work(self) -> None:
        """Empty the queue and interrupt what runs."""
        self._request("POST", "/queue", json={"clear": True})
        self.interrupt()

    def run(
        self,
        prompt: Mapping[str, Any],
        on_progress: Callable[[Message], None] | None = None,
        timeout: float = 1800.0,
    ) -> dict[str, Any]:
        """Queue a workflow, wait for its end and return its history entry.

        ``on_progress`` gets every message that the server pushes meanwhile; ``timeout`` is in seconds.
        Raises ``HostError`` (naming the node) on failure and ``HostInterrupted`` when it was interrupted.
        """
        deadline = time.monotonic() + timeout
        # Listening starts before queueing: a fully cached workflow ends before a later connection is made.
        page = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws?clientId={self._client}",
            timeout=REPLY_SECONDS,
            http_no_proxy=["127.0.0.1"],
        )
        try:
            prompt_id = self.queue(prompt)
            for message in self._messages(page, deadline):
                if on_progress is not None:
                    on_progress(message)
                if message.kind in ENDINGS and message.data.get("prompt_id") == prompt_id:
                    if message.kind != "execution_success":
                        raise _failure(message)
                    return self._finished(prompt_id)
        finally:
            page.close()
        self.interrupt()
        raise HostError(f"The workflow was not done after {timeout:.0f} s. The host's log ends:\n{self.log_tail()}")

    def _messages(self, page: websocket.WebSocket, deadline: float) -> Iterator[Message]:
        """What the server pushes, until the deadline. Raises ``HostError`` when the server goes away."""
        page.settimeout(1.0)  # a silent server is looked at every second: it may have died
        while time.monotonic() < deadline:
            try:
                received = page.recv()
            except websocket.WebSocketTimeoutException:
                if self.running:
                    continue
                raise self._gone() from None
            except (websocket.WebSocketConnectionClosedException, ConnectionError):
                raise self._gone() from None
            if isinstance(received, str) and received:  # an empty one is a closing page
                content = json.loads(received)
                yield Message(content["type"], content.get("data") or {})
            elif received[:4] == _TEXT:  # other binary ones are previews
                size = int.from_bytes(received[4:8], "big")
                node, text = received[8 : 8 + size].decode(), received[8 + size :].decode()
                yield Message("progress_text", {"node": node, "text": text})

    def _finished(self, prompt_id: str) -> dict[str, Any]:
        """The history entry of a workflow that just ended; the server writes it a moment later."""
        for _ in range(100):
            entry = self.history(prompt_id)
            if entry:
                return entry
            time.sleep(0.1)
        raise HostError(f"The host finished workflow {prompt_id} but has no history of it. Its log:\n{self.log_tail()}")

    def _wait_until_ready(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < self._start_timeout:
            if not self.running:
                raise self._gone()
            try:
                if self._request("GET", "/system_stats").ok:
                    logger.info("ComfyUI answers at %s after %.1f s", self.url, time.monotonic() - begun)
                    return
            except (requests.ConnectionError, requests.Timeout):
                pass  # it is not listening yet
            time.sleep(0.2)
        raise HostError(
            f"ComfyUI in {self.folder} did not answer within {self._start_timeout:.0f} s. "
            f"Its log ({self.log}) ends:\n{self.log_tail()}"
        )

    def _gone(self) -> HostError:
        code = self._process.poll() if self._process is not None else None
        return HostError(
            f"ComfyUI in {self.folder} has stopped (exit code {code}). Its log ({self.log}) ends:\n{self.log_tail()}"
        )

    def _request(self, method: str, path: str, **content: Any) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # a proxy set for the internet cannot reach this machine's own server
            return session.request(method, self.url + path, timeout=REPLY_SECONDS, **content)

    def _json(self, method: str, path: str) -> dict[str, Any]:
        reply = self._request(method, path)
        reply.raise_for_status()
        content: dict[str, Any] = reply.json()
        return content


def _failure(message: Message) -> HostError:
    """The error that an ``execution_error`` or ``execution_interrupted`` message stands for."""
    data = message.data
    node_id, node_type = str(data.get("node_id", "")), str(data.get("node_type", ""))
    where = f"node {node_id} ({node_type})"
    if message.kind == "execution_interrupted":
        return HostInterrupted(f"The workflow was interrupted in {where}.", node_id=node_id, node_type=node_type)
    kind, said = str(data.get("exception_type", "")), str(data.get("exception_message", "")).strip()
    lines = [str(line) for line in data.get("traceback", ())]
    return HostError(
        f"{where} failed with {kind}: {said}\n{''.join(lines[-6:]).rstrip()}",
        node_id=node_id,
        node_type=node_type,
        exception_type=kind,
        exception_message=said,
        traceback=lines,
    )


def _refusal(reply: Mapping[str, Any]) -> HostError:
    """The error that the server's "400" answer stands for; the first faulty node gives the fields."""
    faults: list[tuple[str, str, str, str]] = []
    for node_id, node in (reply.get("node_errors") or {}).items():
        for fault in node.get("errors", ()):
            said = f"{fault.get('message', '')}: {fault.get('details', '')}"
            faults.append((str(node_id), str(node.get("class_type", "")), str(fault.get("type", "")), said))
    if faults:
        text = "\n".join(f"  node {node_id} ({node_type}): {said}" for node_id, node_type, _, said in faults)
        node_id, node_type, kind, said = faults[0]
        return HostError(
            f"The host refused the workflow:\n{text}",
            node_id=node_id,
            node_type=node_type,
            exception_type=kind,
            exception_message=said,
        )
    error = reply.get("error") or {}
    if isinstance(error, str):  # a body without a "prompt" is refused with a plain sentence
        error = {"message": error}
    # For a node id that nobody registered the host names the node here, and nowhere else.
    about = error.get("extra_info") or {}
    said = " ".join(str(error.get(key, "")) for key in ("message", "details")).strip()
    return HostError(
        f"The host refused the workflow: {said}",
        node_id=str(about.get("node_id", "")),
        node_type=str(about.get("class_type", "")),
        exception_type=str(error.get("type", "")),
        exception_message=said,
    )
