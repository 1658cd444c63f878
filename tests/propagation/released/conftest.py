"""A server that gives weight files, in the ways in which servers and lines fail."""

import http.server
import re
import threading
from dataclasses import replace

import numpy as np
import pytest

from propagation.released import transfer
from propagation.released.model import NETWORKS
from tests.propagation.released import authors_files
from tests.propagation.released.small import narrow, seeded_weights


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.files`; `server.leads_to` redirects, `server.fault` is what goes wrong, `server.asked` what was asked."""

    protocol_version = "HTTP/1.0"

    def do_GET(self):
        server, span = self.server, self.headers.get("Range")
        server.asked.append((self.path, span))
        if server.fault == "rude":
            return self.wfile.write(b"hello\n")
        if self.path in server.leads_to:
            self.send_response(302)
            self.send_header("Location", server.leads_to[self.path])
            return self.end_headers()
        if self.path not in server.files:
            return self.send_error(404)
        content = server.files[self.path]
        start = int(re.fullmatch(r"bytes=(\d+)-", span)[1]) if span and server.fault != "no ranges" else 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            first = start + 1 if server.fault == "wrong range" else start
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        body = content[start:]
        if server.fault != "no length":
            self.send_header("Content-Length", len(body))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if server.fault in ("cut", "stall") else body)
        if server.fault == "stall":
            server.go_on.wait(10)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.fault, server.asked, server.leads_to, server.go_on = {}, None, [], {}, threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/there/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def weights_file(tmp_path_factory):
    """Weights of a flow network with two channels where the authors' has 24."""
    model = narrow("apparentflow_net")
    return authors_files.write(tmp_path_factory.mktemp("weights") / "flow.h5", seeded_weights(model)).read_bytes()


@pytest.fixture
def site(server, weights_file, monkeypatch):
    """The server with that file at the authors' address."""
    monkeypatch.setitem(NETWORKS, "apparentflow_net", replace(NETWORKS["apparentflow_net"], width=2))
    server.files["/there/CardiacMotionFlow/flow/model_apparentflow_net_fold3_epoch050.h5"] = weights_file
    return server


@pytest.fixture
def ranges(server):
    server.files["/there/file"] = np.random.default_rng(0).bytes(3 * transfer.CHUNK + 17)
    return server
