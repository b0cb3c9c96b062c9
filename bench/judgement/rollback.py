#!/usr/bin/env python3
"""How many labels an alarm takes after errors have become more frequent, beside ADWIN and Page-Hinkley.

An error rate is promised; until the change the true rate is as promised. The gate's run length is set
to 100,000 labels (as days of the line) and measured: the mean number of labels until an alarm without
a cause. Then the rate rises to 10, 4, 2 times what it was: median labels until the alarm. Cases: promised
and true 0.8 %; 0.2 %; promised 0.8 %, true 0.4 %; errors in bursts of four on a board, with boards as
units of evidence and, beside it, without; and 2 % audits instead of all labels. The peers, of
river, are tuned until their measured run length is that of the gate.

Bar, in the first case: run length at least 100,000, medians at most 100, 400 and 2,000 labels.

quick: --runs 51 --length-runs 20 --calibration 0
"""
import argparse
import json
import statistics
import subprocess
import sys

from lib import bench
from peers import peer

TIMES = (10, 4, 2)
BARS = {10: 100, 4: 400, 2: 2000}
LEVEL = 100_000
BURN = 20_000
# name, promised, before, burst, share reviewed, boards as units, beside the peers
CASES = (
    ("promised_0.8", 0.008, 0.008, 1, 1, 1, True),
    ("promised_0.2", 0.002, 0.002, 1, 1, 1, True),
    ("promised_0.8_true_0.4", 0.008, 0.004, 1, 1, 1, False),
    ("bursts_by_board", 0.008, 0.008, 4, 1, 1, False),
    ("bursts_by_item", 0.008, 0.008, 4, 1, 0, False),
    ("audits_2", 0.008, 0.008, 1, 0.02, 1, False),
)


def worker(case, after, runs, burn, limit, seed):
    """[(labels, items, whether there was an alarm)] of the gate."""
    _, promised, before, burst, audit, units, _ = case
    out = subprocess.run([bench.tool("rollback_worker")] + [str(value) for value in (
        promised, before, after, burst, audit, LEVEL, units, runs, burn, limit, seed)],
        check=True, capture_output=True, text=True).stdout
    return [tuple(int(word) for word in line.split()) for line in out.splitlines()]


def run_length(case, runs, seed):
    """Mean labels until a false alarm, and its standard error; runs are cut off at 20 times the level, so
    the mean is a lower bound where some are."""
    labels = [run[0] for run in worker(case, case[2], runs, 0, 20 * LEVEL, seed)]
    return statistics.mean(labels), statistics.stdev(labels) / len(labels) ** 0.5


def delays(case, runs, seed):
    limit = 10 * LEVEL
    medians = {}
    for times in TIMES:
        result = worker(case, case[2] * times, runs, BURN, limit, seed)
        medians[times] = tuple(statistics.median(run[i] for run in result) for i in (0, 1))
    return medians


def beside(case, length, calibration, runs, seed):
    """{detector: (parameter, run length, {times: median})} of the peers."""
    interpreter = peer.python("drift")
    found = {}
    for kind in ("adwin", "page_hinkley") if interpreter else ():
        request = {"detector": kind, "before": case[2], "after": [case[2] * t for t in TIMES],
                   "burn": BURN, "limit": LEVEL, "runs": runs, "seed": seed, "run_length": length,
                   "calibration_labels": calibration}
        answer = json.loads(subprocess.run(
            [interpreter, peer.script("river_drift.py"), json.dumps(request)],
            check=True, capture_output=True, text=True).stdout)
        medians = dict(zip(TIMES, answer["delays"].values()))
        found[kind] = (answer["parameter"], answer["run_length"], medians)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1001)
    parser.add_argument("--length-runs", type=int, default=200)
    parser.add_argument("--peer-runs", type=int, default=41)
    parser.add_argument("--calibration", type=int, default=2_000_000,
                        help="labels of a peer's calibration run; 0: no peers")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures, shares = {}, []
    print(f"{'':24s}{'run length':>22s}" + "".join(f"{t:>7d} times" for t in TIMES)
          + "  (median labels; audits: and items)")
    for case in CASES:
        name = case[0]
        mean, error = run_length(case, options.length_runs, options.seed)
        medians = delays(case, options.runs, options.seed)
        cells = "".join(f"{medians[t][0]:13,.0f}" for t in TIMES)
        if case[4] < 1:
            cells += "  " + ", ".join(f"{medians[t][1]:,.0f}" for t in TIMES)
        print(f"{name:24s}{mean:13,.0f} +- {error:5,.0f}{cells}", flush=True)
        figures[name + "_run_length_labels"] = round(mean)
        for t in TIMES:
            figures[f"{name}_{t}_times_labels"] = medians[t][0]
        if name == "promised_0.8":
            shares = [medians[t][0] / BARS[t] for t in TIMES] + [LEVEL / mean]
        if not case[6] or options.calibration == 0:
            continue
        for kind, found in beside(case, mean, options.calibration, options.peer_runs,
                                  options.seed).items():
            print(f"  {kind:22s}{found[1]:13,.0f}         "
                  + "".join(f"{found[2][t]:13,.0f}" for t in TIMES)
                  + f"  (parameter {found[0]:.3g})", flush=True)
            figures[f"{name}_{kind}_run_length_labels"] = round(found[1])
            for t in TIMES:
                figures[f"{name}_{kind}_{t}_times_labels"] = found[2][t]
    ratio = max(shares)
    bench.finish("rollback", figures, ratio, 1, ratio <= 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
