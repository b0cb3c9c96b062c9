"""Runs the program as its users do: writes a configuration, serves it, stops it."""

import json
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import urllib.error
import urllib.request
import zlib

CLASSES = ["ok", "open", "short"]
FEATURES = 5
SIDE = 16

CONFIGURATION = """\
server:
  listen: 127.0.0.1:0
{server}journal:
  path: {folder}/journal
loops:
  - name: vectors
    input: features
    features: {features}
    classes: [{classes}]
  - name: boards
    input: image
    size: {side}x{side}
    template: true
    classes: [{classes}]
"""


class Program:
    """`with Program(path) as program:` serves two loops, "vectors" and "boards"."""

    def __init__(self, path, server_lines=(), tokens=None):
        self.path = path
        self.server_lines = list(server_lines)
        self.tokens = tokens or {}
        self.secrets = {}

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="tightloop-protocol-")
        try:
            self._configure()
            self._serve()
        except BaseException:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def _configure(self):
        lines = list(self.server_lines)
        for name, rights in self.tokens.items():
            file = os.path.join(self.folder, "tokens")
            self.secrets[name] = self.run("token", "create", name, "--rights", rights,
                                          "--file", file)
        if self.tokens:
            lines.append(f"tokens_file: {self.folder}/tokens")
        self.configuration = os.path.join(self.folder, "tightloop.yaml")
        with open(self.configuration, "w") as file:
            file.write(CONFIGURATION.format(
                server="".join(f"  {line.format(folder=self.folder)}\n" for line in lines),
                folder=self.folder, features=FEATURES, side=SIDE, classes=", ".join(CLASSES)))

    def run(self, *arguments):
        result = subprocess.run([self.path, *arguments], capture_output=True, text=True, timeout=60)
        if result.returncode != 0:
            raise AssertionError(f"{arguments}: {result.stderr}")
        return result.stdout.strip()

    def _serve(self):
        self.errors = open(os.path.join(self.folder, "errors"), "w+")
        self.process = subprocess.Popen([self.path, "serve", "--config", self.configuration],
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline().split()
        if len(line) != 2 or line[0] != "ready":
            self.process.kill()
            self.process.wait()
            self.errors.seek(0)
            raise AssertionError("did not start: " + self.errors.read())
        self.url = line[1]

    @property
    def address(self):
        """host:port"""
        return self.url.split("://")[1]

    def stop(self):
        """Graceful; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, method, path, body=None, headers=None, context=None):
        """(status, parsed JSON) of one request."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers or {}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")


def png(value, side=SIDE):
    """A grey image of one value, as a PNG file."""
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + bytes([value]) * side for _ in range(side))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pgm(value, side=SIDE):
    """The same as a PGM file."""
    return b"P5 %d %d 255\n" % (side, side) + bytes([value]) * side * side
