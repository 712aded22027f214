"""A small, real, local server that speaks the OpenAI protocol, for tests: no key, no network beyond loopback.

    with OpenAIServer([chat("Hello"), failure(429, retry_after="1"), chat("again")]) as server:
        client = PydanticAIClient("local:test-model", base_url=server.base_url, prices=PriceTable())

Replies are played back in order, one per request, whatever is asked; `server.requests` holds what was asked, parsed. A
request beyond the script gets a 400 that says so, which no client retries. A chat reply streams when the request asks
for it. Nothing waits: a reply that `hang`s does so until the server is closed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class ServerRequest:
    """What one request was: its path, its headers in lower case, and its JSON body."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServerReply:
    """What to answer one request; build it with the functions below."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    pieces: Sequence[str] | None = None
    """The text, in the pieces that it streams in."""
    message: Mapping[str, Any] = field(default_factory=dict)
    finish_reason: str | None = "stop"
    usage: Mapping[str, Any] | None = None
    hangs: bool = False
    """Never answers, until the server closes."""
    breaks_after: int | None = None
    """When streaming, drops the connection after that many pieces."""
    drops: bool = False
    """Drops the connection: at once, or, where it has a body, before all of that was sent."""


def chat(
    text: str | None,
    *,
    pieces: Sequence[str] | None = None,
    tool_calls: Sequence[tuple[str, str, Any]] = (),
    input_tokens: int = 100,
    cached_tokens: int = 0,
    output_tokens: int = 20,
    finish_reason: str | None = None,
    refusal: str | None = None,
    reports_usage: bool = True,
) -> ServerReply:
    """Return a chat completion.

    `tool_calls` are (id, name, arguments), where arguments that are text go out as they are, malformed or not.
    `pieces` is how the text streams; word by word if left out.
    """
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": refusal}
    if tool_calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {
                    "name": name,
                    "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
                },
            }
            for call_id, name, arguments in tool_calls
        ]
    usage = {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }
    return ServerReply(
        message=message,
        pieces=pieces
        if pieces is not None
        else [f"{word} " for word in (text or "").split(" ")[:-1]] + [(text or "").split(" ")[-1]],
        finish_reason=finish_reason or ("tool_calls" if tool_calls else "stop"),
        usage=usage if reports_usage else None,
    )


def failure(
    status: int, *, message: str = "no", code: str | None = None, retry_after: str | None = None
) -> ServerReply:
    """Return an error as OpenAI words it."""
    body = json.dumps({"error": {"message": message, "type": "error", "code": code, "param": None}}).encode()
    return ServerReply(status=status, body=body, headers={"Retry-After": retry_after} if retry_after else {})


def raw(body: bytes | str, *, status: int = 200) -> ServerReply:
    """Return these bytes as the whole body, JSON or not."""
    return ServerReply(status=status, body=body if isinstance(body, bytes) else body.encode())


def hang_up() -> ServerReply:
    """Take the request, and drop the connection."""
    return ServerReply(drops=True)


def chunk(text: str | None = None, *, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a stream, for `stream`; `fields` go into it (`usage`) or into its delta (`refusal`)."""
    usage = {"usage": fields.pop("usage")} if "usage" in fields else {}
    delta = {**({} if text is None else {"role": "assistant", "content": text}), **fields}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta or finish else []
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **usage}


def stream(*chunks: Mapping[str, Any], ends: bool = True, drops: bool = False) -> ServerReply:
    """Return these chunks as they are; without its end where it just ends, or the connection drops."""
    lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks] + (["data: [DONE]\n\n"] if ends else [])
    return replace(raw("".join(lines)), drops=drops)


def completion(
    text: str | None, *, usage: Any = None, finish_reason: str | None = "stop", **message: Any
) -> ServerReply:
    """Return a reply that is not streamed, with a usage and a reason as no honest server words them."""
    body: dict[str, Any] = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish_reason,
            }
        ],
    }
    return raw(json.dumps(body if usage is None else {**body, "usage": usage}))


def hang() -> ServerReply:
    """Never answer."""
    return ServerReply(hangs=True)


def broken_stream(reply: ServerReply, *, after: int) -> ServerReply:
    """Return the reply, dropping the connection when that many pieces have streamed."""
    return replace(reply, breaks_after=after)


class OpenAIServer:
    """The server, running in a thread while the `with` block lasts."""

    def __init__(self, script: Iterable[ServerReply] = ()) -> None:
        self.script = list(script)
        """What is still to be answered; add to it at any time."""
        self.requests: list[ServerRequest] = []
        self.connections: list[socket.socket] = []
        """The connections that were opened so far."""
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.asked = threading.Event()
        """Set once a first request has arrived."""

    @property
    def base_url(self) -> str:
        """What goes into `KAPELLE_BASE_URL`."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        # Closing waits for every thread, so that none outlives its test.
        self._http.daemon_threads = False
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._http.shutdown()
        for connection in self.connections:
            # Ends the threads that wait for another request on a connection that its client has kept.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._http.server_close()
        self._thread.join()

    def take(self, request: ServerRequest) -> ServerReply:
        """Note a request and return what to answer it."""
        with self._lock:
            self.requests.append(request)
            self.asked.set()
            if not self.script:
                return failure(400, message="the test's script is used up")
            return self.script.pop(0)

    def wait_closing(self) -> None:
        """Block until the server closes."""
        self._closing.wait()


class _Handler(BaseHTTPRequestHandler):
    owner: OpenAIServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.owner.connections.append(self.connection)

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        request = ServerRequest(
            path=self.path,
            headers={name.lower(): value for name, value in self.headers.items()},
            body=json.loads(self.rfile.read(length) or b"{}"),
        )
        reply = self.owner.take(request)
        if reply.drops:
            if reply.body:
                headers = {"Content-Length": str(len(reply.body) + 100)}
                self._send(reply.status, reply.body, headers)
                self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        elif reply.hangs:
            self.owner.wait_closing()
            self.close_connection = True
        elif reply.pieces is None:
            self._send(reply.status, reply.body, reply.headers)
        elif request.body.get("stream"):
            self._stream(reply, request)
        elif request.path.endswith("/responses"):
            self._send(200, json.dumps(_response_body(reply, request)).encode(), reply.headers)
        else:
            self._send(200, json.dumps(_completion_body(reply, request)).encode(), reply.headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, reply: ServerReply, request: ServerRequest) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunks = _response_events if request.path.endswith("/responses") else _stream_chunks
        for index, chunk in enumerate(chunks(reply, request)):
            if index == reply.breaks_after:
                self.close_connection = True
                return
            self._write_chunk(f"data: {json.dumps(chunk)}\n\n".encode())
        self._write_chunk(b"data: [DONE]\n\n")
        self._write_chunk(b"")

    def _write_chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Say nothing."""


def _completion_body(reply: ServerReply, request: ServerRequest) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": request.body["model"],
        "choices": [{"index": 0, "message": reply.message, "finish_reason": reply.finish_reason, "logprobs": None}],
        "usage": reply.usage,
    }


def _stream_chunks(reply: ServerReply, request: ServerRequest) -> Iterable[dict[str, Any]]:
    head = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": request.body["model"],
    }

    def chunk(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}

    for piece in reply.pieces or ():
        if piece:
            yield chunk({"role": "assistant", "content": piece})
    for index, call in enumerate(reply.message.get("tool_calls", ())):
        yield chunk({"tool_calls": [{"index": index, **call}]})
    yield chunk({}, reply.finish_reason)
    if reply.usage is not None and request.body.get("stream_options", {}).get("include_usage"):
        yield {**head, "choices": [], "usage": reply.usage}


def _response_events(reply: ServerReply, request: ServerRequest) -> Iterable[dict[str, Any]]:
    whole = _response_body(reply, request)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = {**whole["output"][0], "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    place = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.content_part.added", "part": part, **place},
        *(
            {"type": "response.output_text.delta", "delta": piece, "logprobs": [], **place}
            for piece in reply.pieces or ()
        ),
        {"type": "response.output_text.done", "text": reply.message["content"], "logprobs": [], **place},
        {"type": "response.output_item.done", "output_index": 0, "item": whole["output"][0]},
        {"type": "response.completed", "response": whole},
    ]
    return ({**event, "sequence_number": number} for number, event in enumerate(events))


def _response_body(reply: ServerReply, request: ServerRequest) -> dict[str, Any]:
    """The same reply, as OpenAI's Responses API words it (text only)."""
    usage = reply.usage or {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    content = [{"type": "output_text", "text": reply.message["content"], "annotations": []}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": request.body["model"],
        "output": [{"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "incomplete_details": None,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": usage.get("prompt_tokens_details", {"cached_tokens": 0}),
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }
