"""A local web server that breaks off, refuses and changes its mind as a test wants it to."""

import json
import urllib.parse
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Files by name, with byte ranges; `breaks` are the bytes after which the next answers break off."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.tag = '"one"'
        self.breaks: list[int] = []
        self.refusals: list[int] = []  # statuses of the next answers
        self.ranges: list[str | None] = []  # what was asked for
        self.sent = 0
        self.answer: Callable[[dict], dict] = lambda question: {}  # to the `request` of a form that is posted

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/data"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *arguments) -> None:
        """Silent."""

    def do_GET(self) -> None:
        server, asked = self.server, self.headers.get("Range")
        server.ranges.append(asked)
        content = server.files.get(self.path.removeprefix("/data/"))
        if server.refusals or content is None:
            self.send_error(server.refusals.pop(0) if server.refusals else 404)
            return
        begin = 0
        if asked and self.headers.get("If-Range") == server.tag:
            begin = int(asked.removeprefix("bytes=").removesuffix("-"))
            if begin >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        body = content[begin : begin + server.breaks.pop(0)] if server.breaks else content[begin:]
        server.sent += len(body)
        self.wfile.write(body)

    def do_POST(self) -> None:
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        body = json.dumps(self.server.answer(json.loads(form["request"][0]))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
