"""What the hostile tests share: the program with its checks around it, raw sockets, bad files."""

import base64
import json
import os
import re
import socket
import struct
import sys
import time
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "protocol"))

from program import CLASSES, FEATURES, SIDE, Program, pgm, png  # noqa: E402

VECTORS, BOARDS = "/v2/models/vectors", "/v2/models/boards"
MIB = 1 << 20


class Target(Program):
    """The program, more settings, and what must hold however it was treated."""

    def __init__(self, path, server_lines=(), journal_lines=(), folder=None):
        super().__init__(path, server_lines)
        self.journal_lines = list(journal_lines)
        self.outside = folder
        self.environment = None

    def _configure(self):
        super()._configure()
        with open(self.configuration) as file:
            text = file.read()
        if self.outside is not None:
            text = text.replace(f"{self.folder}/journal", self.outside)
        more = "".join(f"  {line}\n" for line in self.journal_lines)
        text = re.sub(r"(?m)^(  path: .*\n)", lambda match: match[0] + more, text)
        with open(self.configuration, "w") as file:
            file.write(text)

    def again(self):
        """Serve once more, after it was stopped."""
        self.errors.close()
        self.process.stdout.close()
        self._serve()

    @property
    def journal(self):
        return self.outside or os.path.join(self.folder, "journal")

    @property
    def host_port(self):
        host, port = self.address.split(":")
        return host, int(port)

    @property
    def sanitized(self):
        """Whether the program watches its memory: then its size says less."""
        with open(self.path, "rb") as file:
            return b"__asan_init" in file.read()

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) / 1024

    def said(self):
        self.errors.flush()
        with open(os.path.join(self.folder, "errors"), errors="replace") as file:
            return file.read()

    def good(self, method, path, body=None, headers=None):
        """The answer. Whoever is told to come again does so: a crowd may be before him."""
        until = time.monotonic() + 20
        status, answer = self.ask(method, path, body, headers)
        while status == 503 and time.monotonic() < until:
            time.sleep(0.1)
            status, answer = self.ask(method, path, body, headers)
        if status not in (200, 202):
            raise AssertionError(f"{method} {path}: {status} {answer}")
        return answer

    def serves(self):
        """A good request to each loop, and feedback, are answered."""
        answer = self.good("POST", VECTORS + "/infer", features())
        self.good("POST", VECTORS + "/feedback",
                  {"prediction_id": answer["parameters"]["prediction_ids"][0], "label": "open"})
        self.good("POST", BOARDS + "/infer", image(png(80)))

    def judge(self):
        """After it was stopped: the journal is sound and says what the loop had become."""
        text = self.said()
        for word in ("ERROR: AddressSanitizer", "runtime error", "LeakSanitizer", "assertion",
                     "could not be applied"):
            if word in text:
                raise AssertionError(text)
        self.run("doctor", "--journal", self.journal)
        self.run("replay", "--verify", "--journal", self.journal)

    def finish(self):
        status = self.stop()
        if status != 0:
            raise AssertionError(f"exit status {status}: {self.said()}")
        self.judge()


# ---- Requests ----------------------------------------------------------------------------------

def features(count=1, **more):
    return {"inputs": [{"name": "features", "shape": [count, FEATURES], "datatype": "FP32",
                        "data": [0.5] * (count * FEATURES)}], **more}


def image(*files, reference=None, **more):
    def tensor(name, contents):
        return {"name": name, "shape": [len(contents)], "datatype": "BYTES",
                "data": [base64.b64encode(content).decode() for content in contents]}

    inputs = [tensor("image", files)]
    if reference is not None:
        inputs.append(tensor("reference", [reference]))
    return {"inputs": inputs, **more}


def binary_image(content):
    """(headers, body) of one image in the binary extension."""
    head = json.dumps({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES",
                                   "parameters": {"binary_data_size": len(content) + 4}}]}).encode()
    return (f"Inference-Header-Content-Length: {len(head)}\r\n",
            head + struct.pack("<I", len(content)) + content)


def request(path, body=b"", headers="", method="POST"):
    """The bytes of a request; Content-Length is stated unless `headers` speak of lengths."""
    if isinstance(body, str):
        body = body.encode()
    if not re.search("(?mi)^(content-length|transfer-encoding):", headers):
        headers += f"Content-Length: {len(body)}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n".encode("latin-1") + body


def send(target, data, timeout_s=30, pieces=None):
    """Send bytes; (status, body) of the first answer. Status 0: closed without one."""
    with socket.create_connection(target.host_port, timeout=timeout_s) as connection:
        try:
            for piece in pieces if pieces is not None else [data]:
                connection.sendall(piece)
        except OSError:
            pass  # it may answer and close before all is sent
        return receive(connection)


def receive(connection):
    """(status, body) of one answer."""
    got = b""
    try:
        while b"\r\n\r\n" not in got:
            piece = connection.recv(65536)
            if not piece:
                return 0, b""
            got += piece
        head, body = got.split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            return receive(connection)
        length = re.search(rb"(?i)content-length: (\d+)", head)
        while length and len(body) < int(length[1]):
            piece = connection.recv(65536)
            if not piece:
                break
            body += piece
        return status, body
    except ConnectionError:
        return 0, b""


# ---- Bad files ---------------------------------------------------------------------------------

def png_chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png_bomb(side):
    """One colour, so that a thousand pixels take a byte."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    return (b"\x89PNG\r\n\x1a\n"
            + png_chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
            + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b""))


def jpeg_of_scans(count, side):
    """A progressive JPEG of one grey: each scan walks all of it once more to change nothing."""
    def segment(marker, data):
        return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data

    one_code = bytes([1] + [0] * 15)  # a table with one code, the bit 0
    blocks = ((side + 7) // 8) ** 2
    runs = (blocks + 32766) // 32767
    bits = ("0" + "1" * 14) * runs  # so many bands end here, as many times as it takes
    bits += "1" * (-len(bits) % 8)
    nothing = b"".join(b"\xff\0" if byte == 255 else bytes([byte])
                       for byte in int(bits, 2).to_bytes(len(bits) // 8, "big"))
    out = b"\xff\xd8" + segment(0xDB, bytes([0]) + bytes([1] * 64))
    out += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + bytes([1, 0x11, 0]))
    out += segment(0xC4, bytes([0x00]) + one_code + bytes([0]))
    out += segment(0xC4, bytes([0x10]) + one_code + bytes([0xE0]))
    out += segment(0xDA, bytes([1, 1, 0, 0, 0, 0x00])) + bytes((blocks + 7) // 8)
    scans = []
    for band in range(1, 64):  # one coefficient, bit by bit
        scans.append((band, 0, 13))
        scans += [(band, bit + 1, bit) for bit in range(12, -1, -1)]
    for band, before, bit in scans[:count - 1]:
        out += segment(0xDA, bytes([1, 1, 0, band, band, before << 4 | bit])) + nothing
    return out + b"\xff\xd9"


GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
