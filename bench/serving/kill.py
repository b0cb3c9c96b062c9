"""Kills and power cuts: is everything that was acknowledged there, and is the loop the same?

quick: --kills 12 --cuts 400

First a process with a loop under load (predictions with and without ids and request ids, feedback,
corrections, withdrawals, pauses, roll-backs, new classes; from seven threads) is killed by SIGKILL
at random moments, often on the same journal. After each kill the journal must be sound, every
acknowledged prediction, feedback and answer to a repeated request must be in it, a restarted loop
must have the digest that replaying the journal gives, and so must each state that was seen before.
Then power cuts: a journal on a simulated disk that loses what was not synced.
"""
import argparse
import json
import os
import re
import subprocess
import sys
import time

from lib import bench


def program(path):
    path = os.path.join(bench.BUILD, path)
    if not os.path.exists(path):
        sys.exit(f"{path} is missing; run: make build")
    return path


def kill(kills, seed):
    words = [program("tests/kill/kill_test"), "--kills", str(kills)]
    if seed is not None:
        words += ["--seed", str(seed)]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    *said, last = done.stdout.strip().splitlines()
    print("\n".join(said))
    return json.loads(last)


def notices_a_lie():
    """The worker reports before it is answered: the check must find that out."""
    return subprocess.run([program("tests/kill/kill_test"), "--eager", "--kills", "40"],
                          stdout=subprocess.DEVNULL).returncode == 0


def cut(cuts):
    """Power cuts; the program has its own canary, a disk whose syncs do nothing."""
    environment = dict(os.environ, TL_POWER_CUTS=str(cuts))
    start = time.monotonic()
    done = subprocess.run([program("journal_journal_power_test")], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(done.stdout)
    survived = re.search(r"OK \] acknowledged_records_survive_power_cuts", done.stdout) is not None
    return survived and done.returncode == 0, time.monotonic() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cuts", type=int, default=10000)
    parser.add_argument("--seed", type=int, help="of the moments and of what is done")
    options = parser.parse_args()
    counts = kill(options.kills, options.seed)
    lie = notices_a_lie()
    survived, cut_s = cut(options.cuts)
    rows = [[key.replace("_", " "), f"{value:,}"] for key, value in counts.items()
            if not isinstance(value, bool)]
    rows += [["a worker that answers too early", "noticed" if lie else "NOT noticed"],
             ["power cuts", f"{options.cuts:,}"], ["power cuts, seconds", f"{cut_s:.1f}"],
             ["lost after power cuts", "nothing" if survived else "SOMETHING"]]
    bench.table(rows, ["", ""])
    figures = {key + ("" if key == "seconds" else "_count"): value
               for key, value in counts.items() if key not in ("nothing_missing", "seconds")}
    figures.update(kill_seconds=counts["seconds"], power_cut_count=options.cuts,
                   power_cut_seconds=round(cut_s, 1), early_answers_noticed=lie,
                   nothing_missing_after_kills=counts["nothing_missing"],
                   nothing_missing_after_power_cuts=survived)
    intact = counts["nothing_missing"] and survived and lie
    enough = counts["kills"] >= 200 and options.cuts >= 10000
    bench.finish("kill", figures, 0 if intact else 1, 0, intact and enough)


main()
