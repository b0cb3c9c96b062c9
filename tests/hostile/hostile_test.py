"""The running program under bad input, bad clients, a full disk and a bad clock.

After each case the program still serves, has not grown beyond a bound, and at the end its journal
is sound and `replay --verify` finds what was served."""

import http.client
import json
import os
import random
import socket
import struct
import sys
import threading
import unittest

from attack import (BOARDS, CLASSES, FEATURES, GIF, MIB, VECTORS, Target, binary_image, features,
                    image, jpeg_of_scans, pgm, png, png_bomb, receive, request, send)

PROGRAM = None
UNKNOWN = "01234567-89ab-4def-8123-456789abcdef"
GROWTH_MIB = 160  # of one case, over what it had after the first requests
SANITIZER_MIB = 900  # what a memory checker keeps back for itself


class Attack(unittest.TestCase):
    """One server for all cases of a class."""
    server_lines = ("idle_timeout_s: 2", "max_connections: 3000")

    @classmethod
    def setUpClass(cls):
        cls.target = Target(PROGRAM, cls.server_lines).__enter__()
        cls.target.serves()
        cls.bound_mib = cls.target.resident_mib() + GROWTH_MIB
        cls.bound_mib += SANITIZER_MIB if cls.target.sanitized else 0

    @classmethod
    def tearDownClass(cls):
        try:
            cls.target.finish()
        finally:
            cls.target.__exit__()

    def tearDown(self):
        self.target.serves()
        self.assertLess(self.target.resident_mib(), self.bound_mib)

    def refused(self, data, *codes, word="", pieces=None):
        """The bytes get one of these answers, with words (one of which is `word`)."""
        status, body = send(self.target, data, pieces=pieces)
        shown = data[:200] if data else pieces
        self.assertIn(status, codes, (shown, body[:300]))
        if status >= 400:
            try:
                text = json.loads(body)["error"]
            except (ValueError, KeyError, TypeError):
                self.fail((shown, status, body))
            self.assertGreater(len(text), 8, shown)
            self.assertIn(word, text, shown)
        return body

    def infer(self, body, *codes, path=VECTORS, headers="", word=""):
        return self.refused(request(path + "/infer", body if isinstance(body, (bytes, str))
                                    else json.dumps(body), headers), *codes, word=word)

    def feedback(self, body, *codes, path=VECTORS, word=""):
        return self.refused(request(path + "/feedback", body if isinstance(body, (bytes, str))
                                    else json.dumps(body)), *codes, word=word)


class Json(Attack):
    PATHS = [VECTORS + tail for tail in ("/infer", "/feedback", "/classes", "/learning", "/golden")]

    def test_malformed(self):
        for path in self.PATHS:
            for body in (b"", b"{", b"nonsense", b"[1,2", b'{"inputs":[}', b"\xff\xfe", b"null",
                         b"7", b'"text"', b"{}{}", b"\0", b'{"a":01}', b'{"a":NaN}', b"[1e999]",
                         b'{"a":"\\ud800"}', b'{"a":"\xc3"}', b"\xef\xbb\xbf{}", b"'a'"):
                self.refused(request(path, body), 400)

    def test_deep(self):
        for depth in (31, 32, 33, 1000, 1 << 20):
            for open_, close in ((b"[", b"]"), (b'{"a":', b"}")):
                body = open_ * depth + b"1" + close * depth
                self.infer(body, 400, 413)
                self.feedback(body, 400, 413)
                self.infer(open_ * depth, 400, 413)

    def test_wide(self):
        many = ",".join(f'"k{i}":1' for i in range(300))
        self.infer("{" + many + "}", 400, 413)
        self.feedback("[" + ",".join(["{}"] * 300) + "]", 400, 413)
        self.infer(b"[" + b"[],"  * (5 * MIB) + b"[]]", 400, 413)
        self.feedback(b"[" + b"{},"  * (5 * MIB) + b"{}]", 400, 413)
        self.infer(b'{"id":"' + b"x" * (15 * MIB) + b'"}', 400, 413)
        self.infer(b'{"inputs":[' + b"1," * (7 * MIB) + b"1]}", 400, 413)

    def test_duplicate_keys(self):
        body = json.dumps(features())[:-1]
        self.infer(body + ',"inputs":[]}', 200, 400)
        self.feedback('{"prediction_id":"%s","label":"ok","label":"open"}' % UNKNOWN, 400)

    def test_wrong_types(self):
        values = (None, True, 7, -1, 1.5, "text", [], {}, [[]], [None], {"a": 1})
        for key in ("inputs", "parameters", "outputs", "id"):
            for value in values:
                self.infer({**features(), key: value}, 200, 400)
        for key in ("name", "shape", "datatype", "data", "parameters"):
            for value in values:
                body = features()
                body["inputs"][0][key] = value
                self.infer(body, 200, 400, 422)
        for key in ("prediction_id", "label", "verdict", "withdraw", "time", "feedback",
                    "request_id"):
            for value in values:
                self.feedback({"prediction_id": UNKNOWN, key: value}, 400, 202)
        for path, key in (("/learning", "on"), ("/classes", "name"), ("/golden", "prediction_id"),
                          ("/rollback", "version")):
            for value in values:
                if (key, value) not in (("on", True), ("name", "text")):
                    self.refused(request(VECTORS + path, json.dumps({key: value})), 400, 404, 409)


class Wire(Attack):
    """What no HTTP client should send."""

    def test_lengths_that_contradict(self):
        path, body = VECTORS + "/infer", json.dumps(features())
        for headers in ("Content-Length: 5\r\nContent-Length: 6\r\n",
                        "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
                        "Content-Length: -1\r\n", "Content-Length: x\r\n", "Content-Length: \r\n",
                        "Content-Length: 99999999999999999999999\r\n",
                        "Content-Length: 18446744073709551615\r\n",
                        "Content-Length: +5\r\n", "Content-Length: 0x10\r\n",
                        "Transfer-Encoding: nonsense\r\n",
                        "Transfer-Encoding: chunked, chunked\r\n"):
            status, _ = send(self.target, request(path, body, headers))
            self.assertIn(status, (0, 400, 408, 413, 501), headers)

    def test_chunks(self):
        path, body = VECTORS + "/infer", json.dumps(features()).encode()
        chunked = "Transfer-Encoding: chunked\r\n"
        whole = b"".join(b"1\r\n" + body[i:i + 1] + b"\r\n" for i in range(len(body)))
        self.refused(request(path, whole + b"0\r\n\r\n", chunked), 200)
        for bad in (b"zz\r\nabc\r\n", b"-5\r\nabc", b"ffffffffffffffffff\r\nabc",
                    b"5\r\nabcdefghij\r\n0\r\n\r\n", b"\r\n\r\n", b"5;" + b"x" * 70000 + b"\r\n"):
            status, _ = send(self.target, request(path, bad, chunked))
            # 500 is the HTTP library's word for an extension of a chunk that is too long.
            self.assertIn(status, (0, 400, 408, 413, 500), bad[:40])

    def test_headers(self):
        path = VECTORS + "/infer"
        for flood in ("X: " + "x" * 70000 + "\r\n", "".join(f"X{i}: 1\r\n" for i in range(20000))):
            status, body = send(self.target, request(path, "", flood))
            self.assertIn(status, (413, 431))
            self.assertIn(b"too big", body)  # the HTTP library answers this itself
        for line in ("no colon\r\n", ": no name\r\n", "X\0Y: 1\r\n", "\tX: 1\r\n", "X: a\0b\r\n"):
            status, _ = send(self.target, request(path, json.dumps(features()), line))
            self.assertIn(status, (0, 200, 400), line)

    def test_first_lines(self):
        for line in (b"GET\r\n\r\n", b"\0\0\0\0\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
                     b"GET  /  HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /" + b"a" * 100000,
                     b"X" * 100000, b"\r\n" * 1000):
            status, _ = send(self.target, line)
            self.assertTrue(status == 0 or 200 <= status < 600, line[:40])

    def test_paths(self):
        for path in ("/v2/models/%00/infer", "/v2/models/%ff%fe/infer", "/v2/models/a%00b/infer",
                     "/v2/models/../../etc/passwd", "/v2/models//infer", "/v2/models/%2e%2e/loop",
                     "/v2/models/" + "a" * 9000 + "/infer", "/v2/models/vectors/infer/more",
                     "/v2/models/\x7f\x01/infer", "/v2/models/VECTORS/infer", "/%",
                     "/v2/models/%e2%82/infer", "//v2", "*", "/v2/models/none/infer"):
            self.refused(request(path, "{}"), 400, 404, 405, 414)
        for version in ("0", "-1", "x", "99999", "18446744073709551616", "1e3", "%31x"):
            self.refused(request(f"{VECTORS}/versions/{version}/infer", json.dumps(features())),
                         404)
        for method in ("PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "infer", "P\0ST"):
            status, _ = send(self.target, request(VECTORS + "/infer", "{}", method=method))
            self.assertIn(status, (0, 400, 405, 501), method)

    def test_bodies_over_the_limit(self):
        path = VECTORS + "/infer"
        over = "Content-Length: %d\r\n" % (17 * MIB)
        self.refused(request(path, b"x" * (17 * MIB)), 413, word="less at a time")
        self.refused(request(path, b"", over + "Expect: 100-continue\r\n"), 413)
        self.refused(request(path, b"", "Content-Length: %d\r\n" % (1 << 40)), 413)
        chunk = b"100000\r\n" + b"x" * MIB + b"\r\n"
        self.refused(request(path, chunk * 17 + b"0\r\n\r\n", "Transfer-Encoding: chunked\r\n"),
                     413)

    def test_encodings(self):
        self.refused(request(VECTORS + "/infer", b"\x1f\x8b\x08", "Content-Encoding: gzip\r\n"),
                     415)

    def test_slow_clients(self):
        head = request(VECTORS + "/infer", b"", "Content-Length: 100\r\n")
        for start in (b"", b"P", head[:30], head, head + b"{"):
            with socket.create_connection(self.target.host_port, timeout=30) as connection:
                connection.sendall(start)
                status, body = receive(connection)
                self.assertIn(status, (0, 408), (start, body))
                if status == 408:
                    self.assertIn(b"all at once", body)

    def test_vanishing_clients(self):
        whole = request(VECTORS + "/infer", json.dumps(features(50)))
        random.seed(7)
        for i in range(300):
            connection = socket.create_connection(self.target.host_port, timeout=30)
            if i % 3 == 0:  # a reset instead of an end
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sendall(whole[:random.randrange(1, len(whole) + 1)] if i % 2 else whole * 3)
            connection.close()

    def test_answers_that_nobody_reads(self):
        whole = request(VECTORS + "/infer", json.dumps(features(200)))
        connections = []
        for _ in range(20):
            connection = socket.create_connection(self.target.host_port, timeout=1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            try:
                connection.sendall(whole * 5)
            except OSError:
                pass
            connections.append(connection)
        self.target.serves()
        for connection in connections:
            connection.close()

    def test_a_crowd(self):
        connections = []
        for _ in range(2500):
            try:
                connections.append(socket.create_connection(self.target.host_port, timeout=30))
            except OSError:
                break
        self.target.serves()
        for connection in connections:
            connection.close()


class Tensors(Attack):
    def test_shapes(self):
        for shape in ([], [0], [0, 5], [1], [1, 4], [1, 6], [2, 5], [-1, 5], [1.5, 5], [1, 5, 1],
                      [1, 1, 1, 1, 1, 1, 1, 1, 5], [1 << 40, 5], [1 << 31, 1 << 31], [1e300, 5],
                      "1,5", {"a": 5}, [None, 5], [[1, 5]]):
            body = features()
            body["inputs"][0]["shape"] = shape
            self.infer(body, 400, 413)
        self.infer(features(257), 413, word="256")
        self.infer(features(300), 413)
        self.infer(features(256), 200)

    def test_values(self):
        for value in ("1e39", "-1e39", "1e999", '"NaN"', "NaN", "Infinity", "-Infinity", "null",
                      "true", '"1"', "[1,2]", "{}", "0x10", "1_0", "--1"):
            self.infer('{"inputs":[{"name":"features","shape":[1,5],"datatype":"FP32",'
                       f'"data":[1,2,3,4,{value}]}}]}}', 400)
        for kind in ("FP31", "", "BYTES", "BOOL", "FP16", "fp32", 7):
            body = features()
            body["inputs"][0]["datatype"] = kind
            self.infer(body, 400, 422)
        body = features()
        body["inputs"][0]["data"] = [3e38, -3e38, 1e-45, 0, -0.0]  # finite: clamped
        self.infer(body, 200)

    def binary(self, blob, size=None, shape=(1, FEATURES), datatype="FP32", head_size=None):
        head = json.dumps({"inputs": [
            {"name": "features", "shape": list(shape), "datatype": datatype,
             "parameters": {"binary_data_size": len(blob) if size is None else size}}]}).encode()
        stated = len(head) if head_size is None else head_size(len(head))
        return head + blob, f"Inference-Header-Content-Length: {stated}\r\n"

    def test_binary(self):
        good = struct.pack("<5f", 1, 2, 3, 4, 5)
        body, headers = self.binary(good)
        self.infer(body, 200, headers=headers)
        nan, infinity = float("nan"), float("inf")
        for numbers in ([nan] * 5, [infinity] * 5, [1, 2, 3, 4, -infinity]):
            blob = struct.pack("<5f", *numbers)
            body, headers = self.binary(blob)
            self.infer(body, 400, headers=headers, word="finite")
        for size in (0, 4, 19, 21, 24, -1, 1 << 31, 1 << 63, (1 << 64) - 1, 1e30, "20", None, [20]):
            if size is not None:
                body, headers = self.binary(good, size=size)
                self.infer(body, 400, headers=headers)
        for stated in (lambda n: 0, lambda n: n - 1, lambda n: n + 1, lambda n: n + 20,
                       lambda n: 1 << 62, lambda n: -1, lambda n: "x", lambda n: f"{n}, {n}"):
            body, headers = self.binary(good, head_size=stated)
            self.infer(body, 400, headers=headers)
        body, headers = self.binary(good, shape=(1 << 30, 1 << 30))
        self.infer(body, 400, 413, headers=headers)

    def test_lengths_within_bytes(self):
        headers, body = binary_image(png(80))
        self.infer(body, 200, path=BOARDS, headers=headers)
        start = int(headers.split()[1])
        for stated in (0, 1, len(body), 0x7fffffff, 0xffffffff):
            lying = body[:start] + struct.pack("<I", stated) + body[start + 4:]
            self.infer(lying, 400, path=BOARDS, headers=headers)

    def test_pixels(self):
        def pixels(shape, value, datatype="FP32", **parameters):
            count = 1
            for side in shape:
                count *= side
            return {"inputs": [{"name": "image", "shape": shape, "datatype": datatype,
                                "parameters": parameters, "data": [value] * count}]}

        self.infer(pixels([1, 8, 8], 0.5), 200, path=BOARDS)
        self.infer(pixels([1, 1, 1], 0.5), 200, path=BOARDS)
        self.infer(pixels([1, 1, 1024], 0.5), 200, path=BOARDS)
        for body in (pixels([1, 8, 8], 1.5), pixels([1, 8, 8], -0.1), pixels([1, 8, 8, 2], 0.5),
                     pixels([8], 0.5), pixels([1, 8], 0.5), pixels([1, 8, 8], 256, "UINT8"),
                     pixels([1, 8, 8], 0.5, "UINT8"), pixels([1, 8, 8], 1e30),
                     pixels([1, 8, 8], 0.5, range=7), pixels([1, 1, 20000], 0.5)):
            self.infer(body, 400, 413, path=BOARDS)


class Images(Attack):
    def test_sides(self):
        for content in (png(80, 1), pgm(80, 1), png(80, 1024), pgm(80, 1024)):
            self.infer(image(content), 200, path=BOARDS)
            self.infer(image(content, reference=png(3, 1)), 200, path=BOARDS)

    def test_bombs(self):
        self.infer(image(png_bomb(30000)), 413, path=BOARDS, word="smaller")
        self.infer(image(b"P5 99999 99999 255\n" + bytes(99)), 413, path=BOARDS)
        self.infer(image(b"P5 4000000000 4000000000 255\n"), 400, 413, path=BOARDS)
        self.infer(image(jpeg_of_scans(1000, 64)), 413, path=BOARDS, word="scans")
        large = jpeg_of_scans(1, 5000)
        self.infer(image(large, large), 200, path=BOARDS)

    def test_bombs_that_add_up(self):
        """Each is within the bound on one image; together they would hold everybody up."""
        large = png_bomb(5000)
        self.infer(image(*[large] * 30), 413, path=BOARDS, word="fewer")
        large = jpeg_of_scans(32, 4900)
        self.infer(image(*[large] * 200), 413, path=BOARDS, word="fewer")

    def test_damage(self):
        for whole in (png(80), jpeg_of_scans(3, 64), pgm(80)):
            for bytes_ in (1, 2, 3, 8, 20, len(whole) // 2, len(whole) - 14, len(whole) - 1):
                self.infer(image(whole[:bytes_]), 400, 200, path=BOARDS)
            rng = random.Random(3)
            for _ in range(40):
                broken = bytearray(whole)
                for _ in range(3):
                    broken[rng.randrange(len(broken))] = rng.randrange(256)
                self.infer(image(bytes(broken)), 200, 400, 413, 422, path=BOARDS)
        for bytes_ in (0, 4, 33, len(png(80)) - 20):
            self.infer(image(png(80)[:bytes_]), 400, path=BOARDS)

    def test_other_files(self):
        for content in (GIF, b"BM" + bytes(60), b"RIFF\0\0\0\0WEBPVP8 ", b"%PDF-1.4", b"<svg/>",
                        bytes(100), b"P7\n", b"P5", b"P5 0 0 255\n", b"P5 1 1 0\n\0", b"x"):
            self.infer(image(content), 400, path=BOARDS)
            self.infer(image(png(1), reference=content), 400, path=BOARDS)
        body = image(png(1))
        for text in ("!!!!", "AAA", "=AAA", "AA==AA==", "\0", 7, None, {}):
            body["inputs"][0]["data"] = [text]
            self.infer(body, 400, path=BOARDS)


class Names(Attack):
    """Ids, classes, versions, keys."""

    def prediction(self, path=VECTORS):
        body = features() if path == VECTORS else image(png(80))
        return self.target.good("POST", path + "/infer", body)["parameters"]["prediction_ids"][0]

    def test_ids(self):
        for bad in ("", "x", UNKNOWN[:-1], UNKNOWN + "0", UNKNOWN[:8] + "\0" + UNKNOWN[9:],
                    "0" * 32, "g" * 32, " " + UNKNOWN, "é" * 18, "\0",
                    UNKNOWN.replace("-", "_")):
            self.feedback({"prediction_id": bad, "label": "ok"}, 400)
            self.infer(features(parameters={"item_ids": [bad]}), 400)
            self.refused(request(VECTORS + "/golden", json.dumps({"prediction_id": bad})), 400)
        known = self.prediction()
        self.infer(features(parameters={"item_ids": [known]}), 409)
        self.infer(features(2, parameters={"item_ids": [UNKNOWN[:-1] + "1"] * 2}), 400, 409)
        self.infer(features(2, parameters={"item_ids": [UNKNOWN[:-1] + "2", known]}), 409)
        self.infer(features(2, parameters={"item_ids": [UNKNOWN]}), 400)
        self.infer(features(parameters={"item_ids": ",".join([UNKNOWN] * 500)}), 400)
        self.feedback({"prediction_id": UNKNOWN, "label": "ok"}, 202)
        # of another loop: not known here
        self.feedback({"prediction_id": self.prediction(BOARDS), "label": "ok"}, 202)

    def test_classes(self):
        known = self.prediction()
        for label in ("", "none", "OK", "ok ", "ok\0", "o" * 70, "ok\n", "\u202e", 0, ["ok"]):
            self.feedback({"prediction_id": known, "label": label}, 400)
        self.feedback({"prediction_id": known, "label": "none"}, 400, word="ok, open, short")
        for name in ("", "a\nb", "a\0b", "\x1b[31m", "x" * 64, "x" * 5000, "ok", 7):
            self.refused(request(VECTORS + "/classes", json.dumps({"name": name})), 400, 409)
        for count in range(70):
            body = json.dumps({"name": f"more{count}"})
            status, answer = send(self.target, request(BOARDS + "/classes", body))
            self.assertIn(status, (200, 413), answer)
        self.assertEqual(status, 413)

    def test_feedback_is_all_or_nothing(self):
        known = self.prediction()
        before = self.target.good("GET", VECTORS + "/loop")["feedback"]
        self.feedback([{"prediction_id": known, "label": "ok"},
                       {"prediction_id": known, "label": "none"}], 400, word="feedback 1")
        self.assertEqual(self.target.good("GET", VECTORS + "/loop")["feedback"], before)
        self.feedback([{"prediction_id": known, "label": "ok"}] * 257, 413)
        for when in (0, -1, 1e300, "yesterday", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00", {},
                     "9999-12-31T23:59:59Z\0"):
            self.feedback({"prediction_id": known, "label": "ok", "time": when}, 400)
        self.feedback({"prediction_id": known, "label": "ok", "time": "9999-12-31T23:59:59Z"}, 200)

    def test_texts(self):
        for value in ("x" * 64, "a\nb", "a\0b", 7, ["a"], "\x1b[2J"):
            self.infer(features(parameters={"site": value}), 400)
        self.infer(features(parameters={"site": "Halle 3 – Süd", "unknown": [1]}), 200)
        self.infer(features(id="x" * 5000), 400)
        self.infer(features(id="\u2028</script>\""), 200)

    def test_versions(self):
        for version in (999, -1, 1.5, 1 << 63, "x", [], 0):
            self.refused(request(VECTORS + "/rollback", json.dumps({"version": version})), 400, 404)
        self.refused(request(VECTORS + "/rollback", ""), 404, word="no version before")
        for version in ("999", "0", "x"):
            self.refused(request(f"{VECTORS}/versions/{version}/promote"), 404)
        self.infer(features(parameters={"version": 999}), 404, word="not kept")
        self.infer(features(parameters={"version": "x"}), 400)

    def test_golden(self):
        unlabelled = json.dumps({"prediction_id": self.prediction()})
        self.refused(request(VECTORS + "/golden", unlabelled), 400, word="label it first")
        self.refused(request(VECTORS + "/golden", unlabelled, method="DELETE"), 404)
        unknown = json.dumps({"prediction_id": UNKNOWN[:-1] + "9"})
        self.refused(request(VECTORS + "/golden", unknown), 404)

    def test_keys(self):
        good = json.dumps(features())
        for key in ("", "x" * 128, "x" * 5000, "a\tb", "\xe9", "a\x01b"):
            self.infer(good, 400, headers=f"Idempotency-Key: {key}\r\n")
        header = "Idempotency-Key: one\r\n"
        first = self.infer(good, 200, headers=header)
        self.assertEqual(first, self.infer(good, 200, headers=header))
        self.infer(features(2), 409, headers=header, word="another body")
        told = json.dumps({"prediction_id": UNKNOWN, "label": "ok"})
        self.refused(request(VECTORS + "/feedback", told, header), 409)
        answers = []

        def client():
            answers.append(send(self.target, request(VECTORS + "/infer", good,
                                                     "Idempotency-Key: many\r\n")))

        threads = [threading.Thread(target=client) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({status for status, _ in answers}, {200})
        self.assertEqual(len({json.loads(body)["parameters"]["prediction_ids"][0]
                              for _, body in answers}), 1)


class Floods(Attack):
    def send_all(self, bodies):
        connection = http.client.HTTPConnection(self.target.address, timeout=60)
        for body in bodies:
            connection.request("POST", VECTORS + "/feedback", body)
            answer = connection.getresponse()
            text = answer.read()
            yield answer.status, text
        connection.close()

    def test_one_item_is_told_of_for_ever(self):
        known = self.target.good("POST", VECTORS + "/infer",
                                 features())["parameters"]["prediction_ids"][0]
        bodies = (json.dumps([{"prediction_id": known, "label": CLASSES[(i + j) % 3]}
                              for j in range(256)]) for i in range(12))
        for status, text in self.send_all(bodies):
            self.assertEqual(status, 200, text)

    def test_items_that_nobody_knows(self):
        rng = random.Random(1)
        bodies = (json.dumps([{"prediction_id": "%032x" % rng.getrandbits(128), "label": "ok"}
                              for _ in range(256)]) for _ in range(300))
        for status, text in self.send_all(bodies):
            self.assertIn(status, (202, 503), text)
            if status == 503:
                break
        self.assertEqual(status, 503)
        self.assertIn(b"check the ids", text)
        # tearDown gives feedback on what is known: it must still be taken


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
