"""A YOLOv8n trained from scratch on whole circuit boards, judged on boards that were kept out.

quick: --boards 40 --epochs 1

Mean average precision before and after the training, and the data set's own rule, whose numbers are
worked out once more by the data set's score_detect.py from what was found. Options are those of
bench_detect_boards (--epochs, --side, --batch, --threads, --seed, --boards, --save, --load). There is
no peer and no bar: it shows that the losses, the augmentation and the trainer teach a detector.
"""
import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile

from lib import bench
from peers import peer


def second_opinion(folder, truths, detections):
    """score_detect.py on the boards of `detections`: its average precision."""
    with open(detections) as file:
        judged = {row["image"] for row in csv.DictReader(file)}
    with open(os.path.join(folder, "boxes.csv")) as file:
        rows = list(csv.reader(file))
    with open(truths, "w", newline="") as file:
        csv.writer(file).writerows(rows[:1] + [row for row in rows[1:] if row[0] in judged])
    words = [sys.executable, "-B", os.path.join(folder, "score_detect.py"), truths, detections]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    print("score_detect.py: " + done.stdout.splitlines()[0])
    return float(re.search(r" AP ([0-9.]+)", done.stdout).group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    _, arguments = parser.parse_known_args()
    folder = peer.data("pcb-stream")
    with tempfile.TemporaryDirectory() as scratch:
        detections = os.path.join(scratch, "detections.csv")
        words = [bench.tool("detect_boards"), "--data", folder, "--detections", detections]
        process = subprocess.Popen(words + arguments, stdout=subprocess.PIPE, text=True)
        last = None
        for line in process.stdout:
            if line.startswith("{"):
                last = json.loads(line)
            else:
                print(line, end="", flush=True)
        if process.wait() != 0 or last is None:
            sys.exit("bench_detect_boards failed")
        figures = last["figures"]
        figures["score_detect_ap"] = second_opinion(folder, os.path.join(scratch, "boxes.csv"),
                                                    detections)
        alike = abs(figures["score_detect_ap"] - figures["boards_ap"]) <= 5e-4
    print(json.dumps(dict(last, ratio=None, bar=None, met=alike)))


if __name__ == "__main__":
    main()
