"""A server of completions on this machine, which serves a model's own logits."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch


def nucleus(logits, temperature, top_p):
    """The distribution that is drawn from, in float64, by the definition of Holtzman et al."""
    scaled = logits.double() / temperature
    p = torch.softmax(scaled, -1).numpy()
    order = np.argsort(-p, kind="stable")
    kept = order[: 1 + int((np.cumsum(p[order]) < top_p).sum())]
    found = np.zeros_like(p)
    found[kept] = p[kept] / p[kept].sum()
    return found


class Served(BaseHTTPRequestHandler):
    """``POST /v1/completions``; what the server holds decides how it behaves."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        server = self.server
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.asked.append((self.path, asked, dict(self.headers)))
        if server.failures:
            status, body = server.failures.pop(0)
            self.send_response(status)
            if status == 307:
                self.send_header("Location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.end_headers()
            self.wfile.write(body)
            return
        with server.lock:
            texts = [self.draw(asked, number) for number in range(min(asked["n"], server.most))]
        body = json.dumps({"choices": [{"text": text} for text in texts]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def draw(self, asked, number):
        draw, ids = np.random.default_rng([asked["seed"], number]), list(asked["prompt"])
        end = self.server.tokenizer.eos_token_id
        for _ in range(asked["max_tokens"]):
            with torch.no_grad():
                logits = self.server.model(torch.tensor([ids])).logits[0, -1]
            if asked["temperature"] == 0:
                ids.append(int(logits.argmax()))
            else:
                p = nucleus(logits, asked["temperature"], asked["top_p"])
                ids.append(int(draw.choice(len(p), p=p)))
            if ids[-1] == end:
                break
        new = ids[len(asked["prompt"]) :]
        return self.server.tokenizer.decode(new, skip_special_tokens=True)


@contextmanager
def serving(model, tokenizer, most=10**6, failures=()):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Served)
    server.model, server.tokenizer, server.most = model, tokenizer, most
    server.failures, server.asked, server.lock = list(failures), [], threading.Lock()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
