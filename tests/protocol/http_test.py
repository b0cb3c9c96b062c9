"""The HTTP interface of the running program, with nothing but Python's own library."""

import base64
import http.client
import json
import resource
import shutil
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import unittest

from program import CLASSES, FEATURES, Program, pgm, png

PROGRAM = None
ID = "01234567-89ab-cdef-0123-456789abcdef"


def features(count=1, **more):
    return {"inputs": [{"name": "features", "shape": [count, FEATURES], "datatype": "FP32",
                        "data": [0.5] * (count * FEATURES)}], **more}


def image(data, reference=None, **more):
    def tensor(name, content):
        return {"name": name, "shape": [1], "datatype": "BYTES",
                "data": [base64.b64encode(content).decode()]}

    inputs = [tensor("image", data)]
    if reference is not None:
        inputs.append(tensor("reference", reference))
    return {"inputs": inputs, **more}


class Loop(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.program = Program(PROGRAM).__enter__()

    @classmethod
    def tearDownClass(cls):
        status = cls.program.stop()
        cls.program.__exit__()
        assert status == 0, f"exit status {status}"

    def ask(self, method, path, body=None, headers=None):
        return self.program.ask(method, path, body, headers)

    def good(self, method, path, body=None, headers=None):
        status, answer = self.ask(method, path, body, headers)
        self.assertEqual(status, 200, answer)
        return answer

    def test_a_label_is_learned(self):
        answer = self.good("POST", "/v2/models/vectors/infer",
                           features(2, id="me", parameters={"site": "hall 2", "line": "7"}))
        parameters = answer["parameters"]
        self.assertEqual(answer["id"], "me")
        self.assertEqual(len(parameters["prediction_ids"]), 2)
        self.assertEqual([output["name"] for output in answer["outputs"]],
                         ["scores", "label", "flagged"])
        scores = answer["outputs"][0]["data"]
        self.assertAlmostEqual(sum(scores[:3]), 1, places=5)
        told = self.good("POST", "/v2/models/vectors/feedback", {"feedback": [
            {"prediction_id": parameters["prediction_ids"][0], "label": "open"},
            {"prediction_id": parameters["prediction_ids"][1], "label": "short"}]})
        self.assertEqual([one["state"] for one in told["feedback"]], ["applied", "applied"])
        again = self.good("POST", "/v2/models/vectors/infer", features())
        self.assertGreaterEqual(again["parameters"]["epoch"], told["feedback"][1]["epoch"])
        state = self.good("GET", "/v2/models/vectors/loop")
        self.assertEqual(state["labels"], 2)

    def test_where_an_item_comes_from_is_kept(self):
        told = {"site": "hall 2", "line": "7", "part": "A-113", "board": "SN-4711", "lot": "w12",
                "shift": "night"}
        answer = self.good("POST", "/v2/models/vectors/infer", features(2, parameters=told))
        columns = ", ".join(told)
        with sqlite3.connect(f"{self.program.folder}/journal/journal.db") as database:
            for item in answer["parameters"]["prediction_ids"]:
                row = database.execute(f"SELECT {columns} FROM predictions WHERE id=?", (item,))
                self.assertEqual(row.fetchone(), tuple(told.values()))
        database.close()
        for name in told:
            status, answer = self.ask("POST", "/v2/models/vectors/infer",
                                      features(1, parameters={name: "x" * 64}))
            self.assertEqual(status, 400, answer)

    def test_feedback_on_what_is_not_known_is_kept(self):
        status, answer = self.ask("POST", "/v2/models/boards/feedback",
                                  {"prediction_id": ID, "verdict": "correct"})
        self.assertEqual(status, 202, answer)
        self.assertEqual(answer["feedback"][0]["state"], "pending")

    def test_images_of_every_kind(self):
        for data in (png(80), pgm(80)):
            for reference in (None, png(90)):
                answer = self.good("POST", "/v2/models/boards/infer", image(data, reference))
                self.assertIn(answer["outputs"][1]["data"][0], CLASSES + ["spur"])
        tensor = {"inputs": [{"name": "image", "shape": [1, 8, 8], "datatype": "FP32",
                              "data": [0.25] * 64}]}
        self.good("POST", "/v2/models/boards/infer", tensor)
        tensor["inputs"][0].update(datatype="UINT8", data=[64] * 64)
        self.good("POST", "/v2/models/boards/infer", tensor)

    def test_damaged_images_are_refused(self):
        for data in (b"x", b"\xff\xd8\xff\xe0", png(1)[:40], b"P5 99999 99999 255\n"):
            status, answer = self.ask("POST", "/v2/models/boards/infer", image(data))
            self.assertIn(status, (400, 413, 422), answer)
            self.assertTrue(answer["error"])

    def test_a_retry_gets_the_same_answer(self):
        headers = {"Idempotency-Key": "part-17"}
        first = self.good("POST", "/v2/models/vectors/infer", features(), headers)
        again = self.good("POST", "/v2/models/vectors/infer", features(), headers)
        self.assertEqual(first["parameters"]["prediction_ids"],
                         again["parameters"]["prediction_ids"])
        status, answer = self.ask("POST", "/v2/models/vectors/infer", features(2), headers)
        self.assertEqual(status, 409, answer)

    def test_own_ids(self):
        own = "0f0e0d0c-0b0a-4908-8706-050403020100"
        body = features(parameters={"item_ids": [own]})
        answer = self.good("POST", "/v2/models/vectors/infer", body)
        self.assertEqual(answer["parameters"]["prediction_ids"], [own])
        status, answer = self.ask("POST", "/v2/models/vectors/infer", body)
        self.assertEqual(status, 409, answer)

    def test_control(self):
        self.assertFalse(self.good("POST", "/v2/models/boards/learning", {"on": False})["learning"])
        self.assertTrue(self.good("POST", "/v2/models/boards/learning", {"on": True})["learning"])
        added = self.good("POST", "/v2/models/boards/classes", {"name": "spur"})
        self.assertEqual(added["classes"], CLASSES + ["spur"])
        versions = self.good("GET", "/v2/models/boards/versions")["versions"]
        self.assertTrue(any(version["champion"] for version in versions))
        status, _ = self.ask("POST", "/v2/models/boards/versions/999/promote")
        self.assertEqual(status, 404)

    def test_metrics(self):
        connection = http.client.HTTPConnection(self.program.address, timeout=30)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read()
        self.assertIn(b"tightloop_loop_predictions_total", text)
        connection.close()
        tool = shutil.which("promtool")
        if tool is None:
            self.skipTest("promtool is not installed (package prometheus)")
        result = subprocess.run([tool, "check", "metrics"], input=text, capture_output=True)
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_events(self):
        connection = http.client.HTTPConnection(self.program.address, timeout=30)
        connection.request("GET", "/events")
        answer = connection.getresponse()
        self.assertEqual(answer.getheader("Content-Type"), "text/event-stream")
        self.good("POST", "/v2/models/boards/learning", {"on": False})
        line = b""
        while not line.startswith(b"data: "):
            line = answer.readline()
            self.assertTrue(line)
        self.assertIn("type", json.loads(line[6:]))
        answer.close()
        connection.close()
        self.good("POST", "/v2/models/boards/learning", {"on": True})

    def test_why_a_candidate_was_refused_can_be_seen(self):
        """Labels in turn on one and the same input: whoever learns the last ones knows less."""
        with Program(PROGRAM) as program:
            for i in range(96):
                _, answer = program.ask("POST", "/v2/models/vectors/infer", features())
                program.ask("POST", "/v2/models/vectors/feedback",
                            {"prediction_id": answer["parameters"]["prediction_ids"][0],
                             "label": CLASSES[i % len(CLASSES)]})
            for _ in range(300):
                _, state = program.ask("GET", "/v2/models/vectors/loop")
                if state["refused"] > 0 and state["trained_labels"] == 96:
                    break
                time.sleep(0.1)
            _, listed = program.ask("GET", "/v2/models/vectors/versions")
            self.assertEqual(len(listed["refused"]), state["refused"])
            newest = listed["refused"][0]
            self.assertRegex(newest["verdict"], r"^refused, .*loss [0-9.]+ against [0-9.]+ over")
            self.assertIn(newest["labels"], (32, 64, 96))
            self.assertEqual(listed["versions"][-1]["origin"], "initial")
            words = ("versions", "--url", program.url, "--loop", "vectors")
            self.assertEqual(json.loads(program.run(*words, "--json")), listed)
            text = program.run(*words)
            self.assertRegex(text, rf"(?m)^ +- +- .* {newest['labels']}  refused, .* against ")
            self.assertRegex(text, r"(?m)^ +1 +0 .*initial .* the loop began with it$")
            self.assertEqual(program.stop(), 0)

    def test_bad_input_gets_words(self):
        cases = [
            ("/v2/models/none/infer", features(), 404),
            ("/v2/models/vectors/infer", {"inputs": []}, 400),
            ("/v2/models/vectors/infer", image(png(1)), 400),
            ("/v2/models/vectors/feedback", {"prediction_id": "x", "label": "ok"}, 400),
            ("/v2/models/vectors/feedback", {"prediction_id": ID, "label": "none"}, 400),
            ("/v2/models/vectors/loop", {}, 405),
        ]
        for path, body, expected in cases:
            status, answer = self.ask("POST", path, body)
            self.assertEqual(status, expected, (path, answer))
            self.assertTrue(answer["error"])

    def test_many_clients_at_once(self):
        failures = []

        def client():
            connection = http.client.HTTPConnection(self.program.address, timeout=60)
            for _ in range(50):
                connection.request("POST", "/v2/models/vectors/infer", json.dumps(features()))
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    failures.append(answer.status)
            connection.close()

        threads = [threading.Thread(target=client) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class Crowd(unittest.TestCase):
    """Ten thousand connections, or as many as this machine lets one process open."""

    def crowd(self, program, count):
        host, port = program.address.split(":")
        connections = []
        for _ in range(count):
            try:
                connections.append(socket.create_connection((host, int(port)), timeout=30))
            except OSError:  # turned away
                pass
        return connections

    def setUp(self):
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self.count = min(10000, most - 500)

    def close(self, connections):
        for connection in connections:
            connection.close()

    def ask_on(self, connection):
        body = json.dumps(features()).encode()
        connection.sendall(b"POST /v2/models/vectors/infer HTTP/1.1\r\nHost: localhost\r\n"
                           b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return connection.recv(15)

    def test_all_are_held_and_served(self):
        with Program(PROGRAM, ["max_connections: 12000", "idle_timeout_s: 300"]) as program:
            connections = self.crowd(program, self.count)
            self.assertEqual(len(connections), self.count)
            for connection in connections[::97]:
                self.assertEqual(self.ask_on(connection), b"HTTP/1.1 200 OK")
            self.close(connections)
            self.assertEqual(program.ask("POST", "/v2/models/vectors/infer", features())[0], 200)
            self.assertEqual(program.stop(), 0)

    def test_too_many_have_to_wait(self):
        with Program(PROGRAM, ["max_connections: 100"]) as program:
            # Fewer than wait in the kernel's queue of the listening socket.
            connections = self.crowd(program, min(self.count, 500))
            # Those that came first are served; then, when the crowd is gone, so is anybody.
            self.assertEqual(self.ask_on(connections[0]), b"HTTP/1.1 200 OK")
            self.close(connections)
            patience = time.monotonic() + 60
            while time.monotonic() < patience:
                try:
                    if program.ask("POST", "/v2/models/vectors/infer", features())[0] == 200:
                        break
                except OSError:
                    time.sleep(0.1)
            else:
                self.fail("nobody is served any more")
            self.assertEqual(program.stop(), 0)


class Access(unittest.TestCase):
    def test_tokens_have_their_rights(self):
        tokens = {"camera": "predict", "operator": "feedback", "boss": "admin"}
        with Program(PROGRAM, tokens=tokens) as program:
            def status(name, method, path, body=None):
                headers = {"Authorization": "Bearer " + program.secrets[name]} if name else {}
                return program.ask(method, path, body, headers)[0]

            infer = ("POST", "/v2/models/vectors/infer", features())
            self.assertEqual([status(name, *infer) for name in (None, "camera", "operator")],
                             [401, 200, 403])
            learning = ("POST", "/v2/models/vectors/learning", {"on": False})
            self.assertEqual([status(name, *learning) for name in ("camera", "boss")], [403, 200])
            program.run("token", "revoke", "camera", "--file", program.folder + "/tokens")
            patience = time.monotonic() + 60
            while status("camera", *infer) != 401 and time.monotonic() < patience:
                time.sleep(0.1)
            self.assertEqual(status("camera", *infer), 401)
            self.assertEqual(program.stop(), 0)

    def test_tls(self):
        if shutil.which("openssl") is None:
            self.skipTest("openssl is not installed")
        lines = ["tls_certificate: {folder}/server.crt", "tls_key: {folder}/server.key"]
        program = Program(PROGRAM, lines)
        configure = program._configure

        def with_certificate():
            configure()
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                            "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                            "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", program.folder + "/server.key",
                            "-out", program.folder + "/server.crt"],
                           check=True, capture_output=True)

        program._configure = with_certificate
        with program:
            self.assertTrue(program.url.startswith("https://"))
            context = ssl.create_default_context(cafile=program.folder + "/server.crt")
            status, answer = program.ask("POST", "/v2/models/vectors/infer", features(),
                                         context=context)
            self.assertEqual(status, 200, answer)
            with self.assertRaises((OSError, http.client.HTTPException)):  # not in plain text
                plain = http.client.HTTPConnection(program.address, timeout=30)
                plain.request("GET", "/v2")
                plain.getresponse()
            self.assertEqual(program.stop(), 0)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
