"""What a line costs to keep: memory after many boards, time from start to ready, size of the program.

quick: --items 1500 --predictions 50000 --starts 3

A server takes the boards of 50 lines, 139 a second with one in ten labelled, as in `line`; after
--items of them (an hour is 500,400: --hour) its proportional memory is read (PSS: shared pages are
divided among those who share them), with the threads, the journal and the slow learner as they are.
Start to ready is taken from the process's start to its line "ready", on an empty journal and on one
with a million predictions, closed properly and after a crash. Beside it a Python server of a small
network for the same boards: ONNX Runtime behind aiohttp.
"""
import argparse
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from lib import bench
from peers import peer

RATE = 139
HOUR = RATE * 3600
BARS = {"pss_mb": 100.0, "start_empty_s": 0.15, "start_million_s": 1.0}
CLASSES = ", ".join(bench.CLASSES)
BOARDS = ("    input: image\n    size: 64x64\n    template: true\n    replay_per_label: 16\n"
          f"    classes: [{CLASSES}]\n")
ROWS = f"    input: features\n    features: 30\n    classes: [{CLASSES}]\n"


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    raise SystemExit("no Pss in smaps_rollup")


class Sampler(threading.Thread):
    """The highest PSS of a process, looked at twice a second."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.peak, self.stop = pid, 0.0, threading.Event()

    def run(self):
        while not self.stop.wait(0.5):
            self.peak = max(self.peak, pss_mb(self.pid))


def line(items, rate):
    """Memory before, after, and the most, of a server that takes `items` boards."""
    with bench.Server(BOARDS, server="  idle_timeout_s: 86400\n") as server:
        before = pss_mb(server.process.pid)
        sampler = Sampler(server.process.pid)
        sampler.start()
        result = bench.load(server.port, input="board", lines=50, connections=50, rate=rate,
                            labels=0.1, seconds=items / rate, warm=0,
                            items=min(40000, items + 50))
        sampler.stop.set()
        sampler.join()
        after = pss_mb(server.process.pid)
        metrics = server.metrics()
    if result["failure"]:
        print("the load generator stopped early:", result["failure"])
    return {"before": before, "after": after, "peak": max(sampler.peak, after),
            "answered": result["predict"]["answered"],
            "labels": metrics["tightloop_loop_labels"],
            "trained": metrics["tightloop_loop_trained_labels"]}


# ---- Start to ready ------------------------------------------------------------------------------

def start_s(words, cwd, stop=signal.SIGTERM):
    """Seconds from the start of the process to its line "ready", and its memory then."""
    began = time.monotonic()
    process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                               text=True)
    line_read = process.stdout.readline()
    took = time.monotonic() - began
    if not line_read.startswith("ready"):
        sys.exit(f"{' '.join(words)} did not start")
    memory = pss_mb(process.pid)
    process.send_signal(stop)
    process.wait(60)
    return took, memory


def serve(folder, loop):
    with open(os.path.join(folder, "tightloop.yaml"), "w") as file:
        file.write(f"server:\n  listen: 127.0.0.1:0\nloops:\n  - name: bench\n{loop}")
    return [bench.TIGHTLOOP, "serve", "--config", "tightloop.yaml", "--journal", "journal"]


def empty_starts(folder, times):
    spans = []
    for _ in range(times):
        shutil.rmtree(os.path.join(folder, "journal"), ignore_errors=True)
        spans.append(start_s(serve(folder, BOARDS), folder)[0])
    return spans


def full_starts(folder, predictions, how, times):
    """On a journal with so many predictions, the first hundredth labelled."""
    journal = os.path.join(folder, "journal")
    shutil.rmtree(journal, ignore_errors=True)
    subprocess.run([bench.tool("fill"), journal, str(predictions), str(predictions // 100), how],
                   check=True)
    found = []
    for _ in range(times):
        if how == "clean":
            found.append(start_s(serve(folder, ROWS), folder))
            continue
        # Each start from the same crash: a copy, so that the one before has not tidied up.
        copy = os.path.join(folder, "copy")
        shutil.rmtree(copy, ignore_errors=True)
        os.makedirs(copy)
        shutil.copytree(journal, os.path.join(copy, "journal"))
        found.append(start_s(serve(copy, ROWS), copy))
        shutil.rmtree(copy)
    return [span for span, _ in found], max(memory for _, memory in found)


def stripped_bytes(folder):
    path = os.path.join(folder, "stripped")
    subprocess.run(["strip", "-o", path, bench.TIGHTLOOP], check=True)
    return os.path.getsize(path)


# ---- Peer ----------------------------------------------------------------------------------------

def python_server(items, times, folder):
    """The same of a Python server; None where its parts are not to be had."""
    model = peer.data("fixtures/pcb_cnn/pcb_cnn.infer.onnx")
    if not os.path.exists(model):
        print(f"{model} is missing: no peer")
        return None
    interpreter = peer.python("onnxruntime")
    if interpreter is None:
        print("onnxruntime or aiohttp cannot be installed: no peer")
        return None
    words = [interpreter, "-B", os.path.join(peer.PEERS, "onnx_server.py"), model]
    spans = [start_s(words, folder)[0] for _ in range(times)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    port = int(process.stdout.readline().rsplit(":", 1)[1])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for i in range(items):
        connection.request("POST", "/infer", bytes([i % 2 * 255]) * (2 * 64 * 64))
        answer = connection.getresponse()
        if answer.status != 200:
            sys.exit(f"the peer answers {answer.status}: {answer.read()[:200]}")
        answer.read()
    memory = pss_mb(process.pid)
    process.terminate()
    process.wait(30)
    return {"pss_mb": memory, "start_s": bench.median(spans), "items": items}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--items", type=int, default=RATE * 150, help="boards before memory is read")
    parser.add_argument("--rate", type=float, default=RATE, help="boards a second")
    parser.add_argument("--hour", action="store_true", help=f"an hour of it: {HOUR:,} boards")
    parser.add_argument("--predictions", type=int, default=1000000)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--no-peer", action="store_true")
    options = parser.parse_args()
    if options.hour:
        options.items, options.rate = HOUR, RATE
    return options


def show(options, memory, starts, size, other):
    def of_peer(key):
        return "-" if other is None else f"{other[key]:.3g}"
    bench.table([
        [f"PSS after {memory['answered']:,} boards, MB", memory["after"], of_peer("pss_mb"), "100"],
        ["highest PSS meanwhile, MB", memory["peak"], "-", ""],
        ["PSS when ready, MB", memory["before"], "-", ""],
        ["start, empty journal, s", starts["empty"], of_peer("start_s"), "0.15"],
        [f"start, {options.predictions:,} predictions, s", starts["clean"], "-", "1"],
        ["the same after a crash, s", starts["crash"], "-", "1"],
        ["program, stripped, MB", size / 1e6, "-", ""],
    ], ["", "tightloop", "ONNX Runtime, aiohttp", "bar"])


def main():
    options = parse()
    busy = bench.others_cpu()
    print(f"others use {busy:.1f} cores")
    with bench.folder() as folder:
        size = stripped_bytes(folder)
        empty = empty_starts(folder, options.starts)
        clean, clean_mb = full_starts(folder, options.predictions, "clean", options.starts)
        crash, _ = full_starts(folder, options.predictions, "crash", options.starts)
        other = None if options.no_peer else python_server(2000, 3, folder)
    memory = line(options.items, options.rate)
    starts = {"empty": bench.median(empty), "clean": bench.median(clean),
              "crash": bench.median(crash)}
    show(options, memory, starts, size, other)
    figures = {
        "items": memory["answered"], "labels": memory["labels"],
        "labels_trained": memory["trained"],
        "pss_mb": memory["after"], "pss_peak_mb": memory["peak"], "pss_ready_mb": memory["before"],
        "start_empty_s": starts["empty"], "start_million_s": starts["clean"],
        "start_million_after_crash_s": starts["crash"], "start_predictions": options.predictions,
        "pss_ready_million_mb": clean_mb, "program_stripped_bytes": size,
        "cores_used_by_others": busy,
    }
    if other is not None:
        figures.update(peer_pss_mb=other["pss_mb"], peer_start_s=other["start_s"],
                       peer_items=other["items"])
    ratio = max(figures[key] / bar for key, bar in BARS.items())
    complete = memory["answered"] >= 20000 and options.predictions >= 1000000
    bench.finish("footprint", figures, ratio, 1,
                 complete and ratio <= 1 and starts["crash"] <= BARS["start_million_s"])


if __name__ == "__main__":
    main()
