"""The running program when it is stopped under load, when its disk is full, when its journal is
damaged or of another time, and when the clock jumps."""

import glob
import http.client
import json
import os
import random
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

from attack import (BOARDS, CLASSES, FEATURES, MIB, VECTORS, Target, binary_image, features, image,
                    png, request, send)

PROGRAM = None


def noise(seed, bytes_):
    """A PGM of that many pixels that does not compress."""
    side = int(bytes_ ** 0.5)
    return b"P5 %d %d 255\n" % (side, side) + random.Random(seed).randbytes(side * side)


def predict_image(target, seed, bytes_):
    headers, body = binary_image(noise(seed, bytes_))
    return send(target, request(BOARDS + "/infer", body, headers))


class Stopping(unittest.TestCase):
    def client(self, target, going, outcome):
        while going.is_set():
            try:
                connection = http.client.HTTPConnection(target.address, timeout=30)
                while going.is_set():
                    name = uuid.uuid4()
                    outcome[name] = "sent"
                    connection.request("POST", VECTORS + "/infer", json.dumps(
                        features(parameters={"item_ids": [str(name)]})))
                    answer = connection.getresponse()
                    answer.read()
                    outcome[name] = answer.status
                    if answer.status != 200:
                        break
            except (OSError, http.client.HTTPException):
                if target.process.poll() is not None:
                    return
            finally:
                connection.close()

    def test_what_was_accepted_is_answered_and_kept(self):
        with Target(PROGRAM) as target:
            going = threading.Event()
            going.set()
            outcomes = [{} for _ in range(12)]
            threads = [threading.Thread(target=self.client, args=(target, going, outcome))
                       for outcome in outcomes]
            for thread in threads:
                thread.start()
            while sum(len(outcome) for outcome in outcomes) < 600:
                time.sleep(0.01)
            self.assertEqual(target.stop(), 0, target.said())
            going.clear()
            for thread in threads:
                thread.join()
            with sqlite3.connect(os.path.join(target.journal, "journal.db")) as database:
                kept = {uuid.UUID(bytes=row[0])
                        for row in database.execute("SELECT id FROM prediction")}
            for outcome in outcomes:
                for name, what in outcome.items():
                    self.assertIn(what, (200, 503, "sent"))
                    self.assertEqual(name in kept, what == 200, (name, what))
            target.judge()

    def test_a_second_signal_does_not_wait(self):
        with Target(PROGRAM) as target:
            target.serves()
            with_body = request(VECTORS + "/infer", b"", "Content-Length: 100\r\n")
            with socket.create_connection(target.host_port) as connection:
                connection.sendall(with_body)
                time.sleep(0.2)
                target.process.terminate()
                while "Stopping" not in target.said():
                    time.sleep(0.01)
                time.sleep(0.2)
                target.process.terminate()
                self.assertNotEqual(target.process.wait(timeout=20), 0)
            target.judge()


class Disk(unittest.TestCase):
    def fill(self, target, word, bytes_=300000):
        for seed in range(400):
            status, body = predict_image(target, seed, bytes_)
            if status != 200:
                break
        self.assertEqual(status, 507, body)
        self.assertIn(word, json.loads(body)["error"])
        return body

    def reads_go_on(self, target):
        target.good("GET", "/v2")
        for path in ("", "/loop", "/versions", "/golden"):
            target.good("GET", BOARDS + path)
        status, body = send(target, request("/metrics", method="GET"))
        self.assertEqual(status, 200)
        self.assertIn(b"tightloop_journal_bytes", body)

    def test_quota(self):
        with Target(PROGRAM, journal_lines=["quota: 6MB"]) as target:
            target.serves()
            known = target.good("POST", VECTORS + "/infer", features())["parameters"]
            self.fill(target, "quota")
            self.reads_go_on(target)
            for _ in range(1000):  # a small one may still fit
                status, answer = target.ask("POST", VECTORS + "/infer", features(256))
                if status != 200:
                    break
            self.assertEqual(status, 507, answer)
            told = target.good("POST", VECTORS + "/feedback", {
                "prediction_id": known["prediction_ids"][0], "label": "short"})
            self.assertEqual(told["feedback"][0]["state"], "applied")
            target.good("POST", BOARDS + "/learning", {"on": False})
            self.assertEqual(target.stop(), 0)
            with open(target.configuration) as file:
                text = file.read()
            with open(target.configuration, "w") as file:
                file.write(text.replace("quota: 6MB", "quota: 600MB"))
            target.again()
            target.serves()
            target.finish()

    def tmpfs(self, mib):
        folder = tempfile.mkdtemp(prefix="tightloop-full-")
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tightloop", folder],
                                capture_output=True, text=True)
        if result.returncode != 0:
            self.skipTest("no right to mount a small file system: " + result.stderr.strip())
        self.addCleanup(subprocess.run, ["umount", "-l", folder], capture_output=True)
        return folder

    def test_full(self):
        folder = self.tmpfs(48)
        ballast = os.path.join(folder, "ballast")
        with Target(PROGRAM, folder=os.path.join(folder, "journal")) as target:
            target.serves()
            known = target.good("POST", VECTORS + "/infer", features(20))["parameters"]
            with open(ballast, "wb") as file:
                free = os.statvfs(folder)
                file.write(bytes(free.f_bavail * free.f_frsize - 4 * MIB))
            self.fill(target, "space")
            self.reads_go_on(target)
            for one in known["prediction_ids"]:  # as long as there is a page left
                status, answer = target.ask("POST", VECTORS + "/feedback",
                                            {"prediction_id": one, "label": "open"})
                self.assertIn(status, (200, 507), answer)
            os.remove(ballast)
            target.serves()
            status, body = predict_image(target, 5000, 300000)
            self.assertEqual(status, 200, body)
            target.finish()

    def test_stopping_on_a_full_disk(self):
        folder = self.tmpfs(48)
        ballast = os.path.join(folder, "ballast")
        with Target(PROGRAM, folder=os.path.join(folder, "journal")) as target:
            target.serves()
            with open(ballast, "wb") as file:
                free = os.statvfs(folder)
                file.write(bytes(free.f_bavail * free.f_frsize - 4 * MIB))
            self.fill(target, "space", 100000)
            target.stop()
            os.remove(ballast)
            target.judge()
            target.again()
            target.serves()
            target.finish()


class Pruned(unittest.TestCase):
    def test_what_was_dropped_is_still_answered_for(self):
        with Target(PROGRAM, journal_lines=["retention:", "  size: 3MB"]) as target:
            target.serves()
            headers, body = binary_image(noise(0, 300000))
            whole = request(BOARDS + "/infer", body, headers + "Idempotency-Key: first\r\n")
            status, first = send(target, whole)
            self.assertEqual(status, 200, first)
            for seed in range(1, 30):
                predict_image(target, seed, 300000)
            name = json.loads(first)["parameters"]["prediction_ids"][0]
            until = time.monotonic() + 20
            while time.monotonic() < until:
                status, answer = target.ask("POST", BOARDS + "/golden", {"prediction_id": name})
                if status == 404:
                    break
                time.sleep(0.1)
            self.assertEqual(status, 404)
            self.assertIn("not kept any more", answer["error"])
            self.assertEqual(send(target, whole), (200, first))  # a retry
            told = target.good("POST", BOARDS + "/feedback",
                               {"prediction_id": name, "label": "open"})
            self.assertEqual(told["feedback"][0]["state"], "applied")
            target.serves()
            target.finish()


class Damage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.target = Target(PROGRAM).__enter__()
        for _ in range(30):
            cls.target.serves()
        cls.target.good("POST", VECTORS + "/infer", features(256))
        cls.target.stop()
        cls.whole = cls.target.journal + "-whole"
        shutil.copytree(cls.target.journal, cls.whole)

    @classmethod
    def tearDownClass(cls):
        cls.target.__exit__()

    def setUp(self):
        shutil.rmtree(self.target.journal, ignore_errors=True)
        shutil.copytree(self.whole, self.target.journal)
        self.file = os.path.join(self.target.journal, "journal.db")

    def run_(self, *arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=60,
                              errors="replace")

    def serve(self):
        return self.run_("serve", "--config", self.target.configuration)

    def refused(self, codes, word):
        result = self.serve()
        self.assertIn(result.returncode, codes, result.stderr)
        self.assertIn(word, result.stderr)
        return result

    def test_a_newer_version(self):
        with sqlite3.connect(self.file) as database:
            database.execute("PRAGMA user_version=99")
        database.close()
        self.refused((1,), "newer")
        doctor = self.run_("doctor", "--journal", self.target.journal)
        self.assertIn("newer", doctor.stderr)
        self.assertNotIn("is sound", doctor.stdout)
        self.assertNotEqual(doctor.returncode, 0)

    def test_another_program(self):
        with sqlite3.connect(self.file) as database:
            database.execute("PRAGMA application_id=7")
        database.close()
        self.refused((1, 3), "journal")

    def test_no_database(self):
        for content in (b"not a database" * 1000, os.urandom(50000)):
            with open(self.file, "wb") as file:
                file.write(content)
            self.refused((1, 3), "journal")

    def test_cut(self):
        size = os.path.getsize(self.file)
        os.truncate(self.file, size // 2)
        self.refused((3,), "tightloop doctor")
        self.assertEqual(self.run_("doctor", "--journal", self.target.journal).returncode, 3)

    def test_overwritten(self):
        """It may serve what it can still read, but never crash, nor call it sound."""
        size = os.path.getsize(self.file)
        rng = random.Random(11)
        for seed in range(6):
            self.setUp()
            with open(self.file, "r+b") as file:
                for _ in range(1 + seed * 4):
                    file.seek(rng.randrange(100, size))
                    file.write(rng.randbytes(64))
            doctor = self.run_("doctor", "--journal", self.target.journal)
            self.assertIn(doctor.returncode, (0, 1, 3), doctor.stderr)
            process = subprocess.Popen([PROGRAM, "serve", "--config", self.target.configuration],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       errors="replace")
            if process.stdout.readline().startswith("ready"):
                process.terminate()
                _, said = process.communicate(timeout=60)
                self.assertEqual(process.returncode, 0, said)
            else:
                _, said = process.communicate(timeout=60)
                self.assertIn(process.returncode, (1, 3), said)
                self.assertIn("tightloop serve:", said)

    def test_served_already(self):
        process = subprocess.Popen([PROGRAM, "serve", "--config", self.target.configuration],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertTrue(process.stdout.readline().startswith("ready"))
        try:
            self.refused((1,), f"served by process {process.pid}; stop it first")
        finally:
            process.terminate()
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)

    def test_no_folder(self):
        shutil.rmtree(self.target.journal)
        with open(self.target.journal, "w") as file:
            file.write("a file")
        self.refused((1,), self.target.journal)
        os.remove(self.target.journal)


class Client:
    """One connection and its own random numbers; keeps the answers that should not be."""

    def __init__(self, target, seed):
        self.target, self.rng, self.strange = target, random.Random(seed), []
        self.connection = http.client.HTTPConnection(target.address, timeout=60)

    def connect(self):
        self.connection.close()
        self.connection = http.client.HTTPConnection(self.target.address, timeout=60)

    def ask(self, method, path, body=None):
        self.connection.request(method, path, None if body is None else json.dumps(body))
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 500 and answer.status != 503:
            self.strange.append((method, path, answer.status, text[:200]))
        return answer.status, json.loads(text)


class Everything(unittest.TestCase):
    """All that a client may do at once, in any order, while the program is killed again and again:
    no answer is an error of the program's own, and the journal repeats the same history."""
    SECONDS = 6

    def act(self, client):
        rng, path = client.rng, client.rng.choice((VECTORS, BOARDS))
        names = self.names[path]
        action = rng.random()
        if action < 0.35 or not names:
            body = features(8) if path == VECTORS else image(*[png(rng.randrange(256))] * 4)
            if path == VECTORS:
                body["inputs"][0]["data"] = [rng.gauss(i % 3, 1) for i in range(8 * FEATURES)]
            status, answer = client.ask("POST", path + "/infer", body)
            if status == 200:
                names += answer["parameters"]["prediction_ids"]
        elif action < 0.8:
            client.ask("POST", path + "/feedback", [
                {"prediction_id": rng.choice(names[-400:]),
                 **rng.choice(({"label": rng.choice(CLASSES)}, {"verdict": "correct"},
                               {"verdict": "incorrect"}, {"withdraw": True}))}
                for _ in range(rng.choice((1, 1, 10, 60)))])
        elif action < 0.86:
            client.ask(rng.choice(("POST", "DELETE")), path + "/golden",
                       {"prediction_id": rng.choice(names[-300:])})
        elif action < 0.9:
            client.ask("POST", path + "/learning", {"on": rng.random() < 0.7})
        elif action < 0.94:
            client.ask("POST", path + "/rollback",
                       rng.choice(({}, {"version": rng.randrange(1, 9)})))
        elif action < 0.98:
            client.ask("POST", f"{path}/versions/{rng.randrange(1, 12)}/promote")
        else:
            client.ask("POST", path + "/classes", {"name": f"more{rng.randrange(8)}"})

    def client(self, target, seed):
        client = Client(target, seed)
        while time.monotonic() < self.end:
            try:
                self.act(client)
            except (OSError, http.client.HTTPException):
                client.connect()  # it was killed, and comes again
                time.sleep(0.05)
        client.connection.close()
        self.strange += client.strange

    def test_at_once(self):
        with Target(PROGRAM) as target:
            self.names, self.strange = {VECTORS: [], BOARDS: []}, []
            self.end = time.monotonic() + self.SECONDS
            threads = [threading.Thread(target=self.client, args=(target, seed))
                       for seed in range(5)]
            for thread in threads:
                thread.start()
            for _ in range(2):
                time.sleep(self.SECONDS / 3)
                target.process.kill()
                target.process.wait()
                target.again()
            for thread in threads:
                thread.join()
            self.assertEqual(self.strange, [])
            self.assertGreater(target.good("GET", VECTORS + "/loop")["labels"], 0)
            target.finish()


class Clock(unittest.TestCase):
    def test_jumps(self):
        library = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
        if not library:
            self.skipTest("faketime is not installed (package faketime)")
        target = Target(PROGRAM, journal_lines=["retention:", "  days: 30"])
        if target.sanitized:
            self.skipTest("not beside a memory checker")
        with tempfile.TemporaryDirectory() as folder:
            jump = os.path.join(folder, "jump")

            def set_clock(text):
                with open(jump + ".new", "w") as file:
                    file.write(text + "\n")
                os.rename(jump + ".new", jump)

            set_clock("+0")
            os.environ.update(LD_PRELOAD=library[0], FAKETIME_TIMESTAMP_FILE=jump,
                              FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1",
                              FAKETIME_DONT_RESET="1")
            try:
                with target:
                    self.jump_about(target, set_clock)
            finally:
                for name in list(os.environ):
                    if name.startswith("FAKETIME") or name == "LD_PRELOAD":
                        del os.environ[name]

    def jump_about(self, target, set_clock):
        first = target.good("POST", VECTORS + "/infer", features(5))["parameters"]["prediction_ids"]
        last = first[-1]
        years = set()
        for text in ("+400d", "-400d", "+0", "-20y", "+10y", "+0"):
            set_clock(text)
            target.serves()
            answer = target.good("POST", VECTORS + "/infer", features())["parameters"]
            self.assertGreater(answer["prediction_ids"][0], last)  # ids keep their order
            last = answer["prediction_ids"][0]
        told = target.good("POST", VECTORS + "/feedback", {"prediction_id": first[0],
                                                           "label": "short"})
        self.assertEqual(told["feedback"][0]["state"], "applied")
        self.assertEqual(target.stop(), 0, target.said())
        with sqlite3.connect(os.path.join(target.journal, "journal.db")) as database:
            self.assertEqual(database.execute("SELECT count(*) FROM tombstone").fetchone()[0], 0)
            for (at,) in database.execute("SELECT time_us FROM prediction"):
                years.add(time.gmtime(at / 1e6).tm_year)
        self.assertGreater(len(years), 2)  # the clock did jump
        target.judge()


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=2)
