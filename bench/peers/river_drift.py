#!/usr/bin/env python3
"""ADWIN and Page-Hinkley of river on a stream of errors: labels from a change until the alarm.

usage: river_drift.py REQUEST, a JSON object:
  detector "adwin" (parameter: delta) or "page_hinkley" (parameter: threshold); before, after, burn,
  limit, runs, seed as in bench/judgement/rollback/worker.c; run_length: the parameter is searched until
  the mean number of labels between alarms at the rate `before` is about that, in calibration runs.
Prints {"parameter", "run_length", "delays"}.
"""
import json
import random
import statistics
import sys

from river import drift

ROUNDS = 9  # of the search: the interval is halved each time, in the logarithm


def make(kind, parameter):
    if kind == "adwin":
        return drift.ADWIN(delta=parameter, clock=1)  # looks after every label
    return drift.PageHinkley(threshold=parameter, mode="up")


def alarm(detector, kind, error):
    """ADWIN reports changes in both directions: only a rise counts."""
    before = detector.estimation if kind == "adwin" else None
    detector.update(error)
    if not detector.drift_detected:
        return False
    return kind != "adwin" or detector.estimation > before


def run(kind, parameter, before, after, burn, limit, rng):
    detector = make(kind, parameter)
    for _ in range(burn):
        if alarm(detector, kind, rng.random() < before):
            detector = make(kind, parameter)
    for labels in range(1, limit + 1):
        if alarm(detector, kind, rng.random() < after):
            return labels
    return limit


def run_length(kind, parameter, request):
    """Mean labels until an alarm without a cause, over a fixed number of labels in all."""
    rng = random.Random(request["seed"])
    before, total, alarms = request["before"], request["calibration_labels"], 0
    detector = make(kind, parameter)
    for _ in range(total):
        if alarm(detector, kind, rng.random() < before):
            alarms += 1
            detector = make(kind, parameter)
    return total / max(alarms, 0.5)


def tuned(kind, request):
    """A larger threshold, or a smaller delta, makes runs longer."""
    short, long = (0.9999, 1e-12) if kind == "adwin" else (0.5, 200.0)
    for _ in range(ROUNDS):
        middle = (short * long) ** 0.5
        if run_length(kind, middle, request) < request["run_length"]:
            short = middle
        else:
            long = middle
    return long


def main():
    request = json.loads(sys.argv[1])
    kind = request["detector"]
    parameter = request.get("parameter") or tuned(kind, request)
    rng = random.Random(request["seed"] + 1)
    delays = {}
    for after in request["after"]:
        delays[str(after)] = statistics.median(
            run(kind, parameter, request["before"], after, request["burn"], request["limit"], rng)
            for _ in range(request["runs"]))
    print(json.dumps({"parameter": parameter, "run_length": run_length(kind, parameter, request),
                      "delays": delays}))


if __name__ == "__main__":
    main()
