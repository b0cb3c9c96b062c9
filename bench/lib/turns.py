"""Two programs that do the same work in turn, both warm: ours and a peer.

A worker prints a line of JSON when it is ready, and then one for each line that it is sent. A line
with a number is a turn of so many seconds; see bench/engine/worker/worker.h for the answer. Peers in Python
serve their end with `serve`.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time


# ---- The end that measures -----------------------------------------------------------------------

class Refused(Exception):
    """A worker could not start, or stopped; the text says why."""


class Worker:
    def __init__(self, words, threads=1):
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
        self.errors = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=environment)
        self.ready = self._answer()

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.process.wait()
        self.errors.seek(0)
        said = self.errors.read().strip().splitlines() or [f"exit {self.process.returncode}"]
        raise Refused(said[-1][-200:])

    def ask(self, *words):
        try:
            self.process.stdin.write(" ".join(str(word) for word in words) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # why is in what it said
        return self._answer()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def take_turns(workers, rounds, seconds):
    """{name: [median seconds of a run, for each round]}. Who begins alternates, and after each turn
    there is a pause in which spinning threads go to sleep."""
    spans = {name: [] for name in workers}
    for number in range(rounds):
        order = list(workers)
        for name in order if number % 2 == 0 else reversed(order):
            spans[name].append(workers[name].ask(seconds)["median_s"])
            time.sleep(0.01)
    return spans


def ratio(ours, theirs):
    """How many times faster ours is: of the medians, and the lowest and highest of a round."""
    of_rounds = [their / our for our, their in zip(ours, theirs)]
    return statistics.median(theirs) / statistics.median(ours), min(of_rounds), max(of_rounds)


# ---- The end of a peer ---------------------------------------------------------------------------

def _turn(run, seconds):
    spans, started, cpu_started = [], time.perf_counter(), time.process_time()
    now = started
    while not spans or now - started < seconds:
        run()
        end = time.perf_counter()
        spans.append(end - now)
        now = end
    return {"runs": len(spans), "median_s": statistics.median(spans), "min_s": min(spans),
            "mean_s": (now - started) / len(spans),
            "cpu_s": (time.process_time() - cpu_started) / len(spans)}


def serve(ready, run, commands=None):
    """`commands`: {word: function of the words after it, which returns what is answered}."""
    print(json.dumps(ready), flush=True)
    for line in sys.stdin:
        words = line.split()
        known = (commands or {}).get(words[0])
        print(json.dumps(known(*words[1:]) if known else _turn(run, float(words[0]))), flush=True)
