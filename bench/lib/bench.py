"""What the benchmarks share: a server of our own, the load generator, tables, the last line.

A benchmark is one file, bench/ROOM/NAME.py, or a C program, bench/ROOM/NAME.c. Everything runs on the loopback
interface, on the first two cores that this process may use, with its data in a new folder under the
build folder, which is removed in the end.
"""
import contextlib
import json
import math
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.abspath(os.environ.get("TL_BENCH_BUILD", os.path.join(ROOT, "build", "release")))
DATA = os.path.abspath(os.environ.get("TL_BENCH_DATA", os.path.join(BUILD, "bench-data")))
TIGHTLOOP = os.path.join(BUILD, "tightloop")
CLASSES = ["ok", "open", "short", "mousebite", "spur", "copper", "pin-hole"]


def tool(name):
    path = os.path.join(BUILD, "bench", "bench_" + name)
    if not os.path.exists(path):
        sys.exit(f"{path} is missing; run: make build")
    return path


def pin(count=2):
    """Keep this process, and what it starts, on the first `count` cores that it may use."""
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return len(cores)


def others_cpu(seconds=0.5):
    """How many of our cores other processes use at the moment."""
    def read():
        with open("/proc/stat") as file:
            fields = {line.split()[0]: line.split()[1:] for line in file}
        rows = [fields[f"cpu{core}"] for core in os.sched_getaffinity(0)]
        return sum(sum(map(int, row[:3] + row[5:8])) for row in rows)
    before = read()
    time.sleep(seconds)
    return (read() - before) / os.sysconf("SC_CLK_TCK") / seconds


@contextlib.contextmanager
def folder():
    """A new folder on the disk that is measured."""
    os.makedirs(DATA, exist_ok=True)
    path = tempfile.mkdtemp(dir=DATA)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


class Server:
    """`tightloop serve` with one loop, as a context."""

    def __init__(self, loop, server="", engine="", name="bench"):
        self.name = name
        self.config = "server:\n  listen: 127.0.0.1:0\n" + server
        if engine:
            self.config += "engine:\n" + engine
        self.config += f"loops:\n  - name: {name}\n" + loop

    def __enter__(self):
        os.makedirs(DATA, exist_ok=True)
        self.path = tempfile.mkdtemp(dir=DATA)
        with open(os.path.join(self.path, "tightloop.yaml"), "w") as file:
            file.write(self.config)
        self.log = open(os.path.join(self.path, "log"), "w+")
        self.process = subprocess.Popen([TIGHTLOOP, "serve", "--config", "tightloop.yaml",
                                         "--journal", "journal"], cwd=self.path,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            self.log.seek(0)
            sys.exit("the server did not start: " + self.log.read())
        self.url = line.split()[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.path, ignore_errors=True)

    def call(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data,
                                         method=method or ("GET" if body is None else "POST"))
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return text

    def model(self, path, body=None):
        return json.loads(self.call(f"/v2/models/{self.name}/{path}", body))

    def metrics(self):
        """The figures of /metrics; those of the loop without its label."""
        found = {}
        for line in self.call("/metrics").splitlines():
            if line.startswith("#") or "_bucket{" in line:
                continue
            key, value = line.rsplit(" ", 1)
            found[key.replace(f'{{loop="{self.name}"}}', "")] = float(value)
        return found

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def pss_mb(self):
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) / 1024
        return math.nan


def load(port, **options):
    """Run the load generator; its figures."""
    words = [tool("load"), "--port", str(port)]
    for key, value in options.items():
        words += ["--" + key.replace("_", "-"), str(value)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    if not done.stdout:
        sys.exit("the load generator failed")
    return json.loads(done.stdout)


def quantile(values, share):
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))] if ordered else math.nan


def fdatasync_ms(path, size, count=300, seconds=2.0):
    """Spans of a write of `size` bytes and its fdatasync, in a file that has its blocks already."""
    spans = []
    block = b"\1" * max(1, int(size))
    area = max(len(block) * 8, 1 << 20)
    name = os.path.join(path, "fdatasync")
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.pwrite(descriptor, b"\0" * area, 0)
        os.fsync(descriptor)
        until = time.monotonic() + seconds
        at = 0
        while len(spans) < count and time.monotonic() < until:
            start = time.monotonic()
            os.pwrite(descriptor, block, at)
            os.fdatasync(descriptor)
            spans.append((time.monotonic() - start) * 1e3)
            at = (at + len(block)) % (area - len(block))
    finally:
        os.close(descriptor)
        os.unlink(name)
    return spans


def fdatasync_idle_ms(path, size, count=40):
    """The same with a pause before each, so that the core has gone to sleep."""
    spans = []
    for _ in range(count):
        time.sleep(0.02)
        spans += fdatasync_ms(path, size, 1)
    return spans


def median(values):
    return statistics.median(values)


def table(rows, head):
    rows = [head] + [[cell if isinstance(cell, str) else f"{cell:,.3g}" if abs(cell) < 100
                      else f"{cell:,.0f}" for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    for number, row in enumerate(rows):
        print("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                        for i, (cell, width) in enumerate(zip(row, widths))))
        if number == 0:
            print("  ".join("-" * width for width in widths))
    sys.stdout.flush()


def finish(name, figures, ratio, bar, met):
    """The one line of JSON that ends every benchmark."""
    rounded = {key: (float(f"{value:.5g}") if isinstance(value, float) else value)
               for key, value in figures.items()}
    print(json.dumps({"bench": name, "figures": rounded, "ratio": float(f"{ratio:.4g}"),
                      "bar": bar, "met": bool(met)}))
