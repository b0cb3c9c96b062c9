"""The engine's numbers beside PyTorch's, ONNX Runtime's and its own in double precision, in one run.

quick: --no-yolo --no-bf16 --no-spread

Fixtures (outputs; the gradient, and parameters after three steps of SGD, with frozen and live
normalisation; one thread and two) and models are compared by the tests graph/fixture_data and
graph/models_data, whose figures are read here; YOLOv8's losses and gradients by
peers/torch_yolo_loss.py. Networks that are trained here on real boards, for some minutes, are then
judged in float32 and in bf16, on boards that were kept out: the share of patches that both call the
same, and mean average precision of boxes. Each line is the worst difference and what is allowed (of
gradients, which are held by tensor, the largest share of it); `ratio` is the largest share. `met` asks
that everything was measured. Where the live training of a fixture amplifies rounding,
peers/torch_spread.py tells how far PyTorch's float32 is from its own double precision: what is allowed
there follows from it.
"""
import argparse
import json
import os
import re
import subprocess
import sys

from lib import bench
from peers import peer

NETWORKS = ["tiny_cnn", "pcb_cnn", "mobilenet_v3_small", "efficientnet_lite0_ft7"]
SPREADS = "efficientnet_lite0_ft7"  # its live training amplifies rounding
MODELS = ["mobilenet_v3_small", "mobilenet_v3_large", "yolov8n_320", "ppocr-cls-mobilenetv3",
          "ppocrv4-det"]
YOLO_ALLOWED = {"max_loss_difference": 1e-5, "max_grad_norm_difference": 1e-4}
# Trained on patches of boards: where it starts, its pixels, epochs.
CLASSIFIERS = {"efficientnet_lite0": (peer.data("fixtures/efficientnet_lite0_ft7/"
                                                "efficientnet_lite0_ft7.train.onnx"),
                                      "efficientnet_lite", 2),
               "mobilenet_v3_small": ("mobilenet_v3_small", "imagenet", 2)}
TOP1_ALLOWED = 0.01  # share of patches
LEARNED = {"right": 0.8, "map50": 0.5}  # at least; of a network that knows nothing nothing follows
DETECTOR_EPOCHS = 6
BOXES = ["map50", "map50_95"]
BOXES_ALLOWED = 0.5  # points of mean average precision
ERROR = re.compile(r"(?:threads (\d+): )?.*largest error (\S+) of \S+ \(allowed (\S+)\)")
GRADIENT = re.compile(r"\S+ (frozen|live): worst gradient at (\S+) of what is allowed")
STEPS = re.compile(r"\S+ (frozen|live): after 3 steps (\S+) \(allowed (\S+)\)")


class Agreement:
    def __init__(self):
        self.worst, self.failed, self.missing, self.counts = {}, [], [], {}

    def add(self, name, difference, allowed):
        old = self.worst.get(name)
        if old is None or not difference / allowed <= old[0] / old[1]:
            self.worst[name] = (difference, allowed)

    def need(self, names):
        self.missing += [name for name in names if name not in self.worst]


def read_test(agreement, name):
    """A test's figures, by the case that it says to run."""
    program = os.path.join(bench.BUILD, "graph_" + name)
    if not os.path.exists(program):
        sys.exit(f"{program} is missing; run: make build")
    done = subprocess.run([program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    case, rounds = "", 0
    for line in done.stdout.splitlines():
        if line.startswith("[ RUN"):
            case, rounds = line.split("]", 1)[1].strip(), 0
        elif line.startswith("[  FAILED  ] ") and "listed below" not in line:
            agreement.failed.append(line.split("]", 1)[1].strip())
        elif found := GRADIENT.match(line):
            rounds += 1  # one thread, two, three
            agreement.add(f"{case} gradient threads{rounds}", float(found[2]), 1.0)
        elif found := STEPS.match(line):
            agreement.add(f"{case} after3 threads{rounds}", float(found[2]), float(found[3]))
        elif found := ERROR.match(line):
            kind = f" outputs threads{found[1]}" if found[1] else ""
            agreement.add(case + kind, float(found[2]), float(found[3]))
    if done.returncode != 0 and not agreement.failed:
        agreement.failed.append(name)


def read_yolo(agreement):
    with bench.folder() as folder:
        done = subprocess.run([sys.executable, "-B", peer.script("torch_yolo_loss.py"),
                               bench.tool("yolo_loss"), folder], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return
    last = json.loads(done.stdout.splitlines()[-1])
    for key, allowed in YOLO_ALLOWED.items():
        agreement.add("yolo " + key, last[key], allowed)
    if not last["anchors_alike"]:
        agreement.failed.append("yolo anchors")


# ---- Networks trained on boards, in bf16 ---------------------------------------------------------

def run(words):
    """The JSON in the last line of what a program prints; None after a failure, which it tells."""
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def judge_classes(agreement, folder, name):
    model, pixels, epochs = CLASSIFIERS[name]
    path, boards = os.path.join(folder, name + ".onnx"), peer.data("pcb-stream")
    trained = run([bench.TIGHTLOOP, "train", "--json", "--data", boards, "--model", model,
                   "--normalisation", pixels, "--epochs", epochs, "--threads", 2, "-o", path])
    found = trained and run([bench.tool("precision_classes"), boards, path, pixels])
    if not found:
        return
    judged = found["judged"]
    print(f"{name}: {judged} patches, {found['same']} called the same in float32 and in bf16; right "
          f"{found['right_fp32']} and {found['right_bf16']}", flush=True)
    agreement.counts |= {f"{name}_{key}": count for key, count in found.items()}
    if found["right_fp32"] >= LEARNED["right"] * judged:
        agreement.add(f"bf16 top1 {name}", 1 - found["same"] / judged, TOP1_ALLOWED)


def judge_boxes(agreement):
    found = run([bench.tool("detect_boards"), "--data", peer.data("pcb-stream"),
                 "--epochs", DETECTOR_EPOCHS])
    if not found or "map50_bf16" not in found["figures"]:
        return
    figures = found["figures"]
    for key in BOXES:
        exact, half = figures[key], figures[key + "_bf16"]
        print(f"yolov8n: {key} over {figures['judged']} boards {exact:.4f} in float32, {half:.4f} "
              "in bf16", flush=True)
        agreement.counts |= {f"yolov8n_{key}_fp32": exact, f"yolov8n_{key}_bf16": half}
        if figures["map50"] >= LEARNED["map50"]:
            agreement.add(f"bf16 {key} yolov8n", 100 * max(0.0, exact - half), BOXES_ALLOWED)


def judge_bf16(agreement):
    with bench.folder() as folder:
        for name in CLASSIFIERS:
            judge_classes(agreement, folder, name)
    judge_boxes(agreement)


# ---- PyTorch's own spread ------------------------------------------------------------------------

def read_spread():
    """Figures of PyTorch's own spread; none when it cannot be measured."""
    last = run([sys.executable, "-B", peer.script("torch_spread.py"),
                peer.data(os.path.join("fixtures", SPREADS))])
    if not last:
        return {}
    print(f"PyTorch float32, {SPREADS} live after 3 steps: {last['update_low']:.2g} to "
          f"{last['update_high']:.2g} of the update from double precision in {last['runs']} runs")
    return {f"torch_spread_{key}": value for key, value in last.items()}


# ---- All -----------------------------------------------------------------------------------------

def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--no-yolo", action="store_true", help="without the losses of YOLOv8")
    parser.add_argument("--no-spread", action="store_true",
                        help="without the spread of PyTorch's own training")
    parser.add_argument("--no-bf16", action="store_true", help="without what is trained here")
    options = parser.parse_args()
    agreement = Agreement()
    read_test(agreement, "fixture_data_test")
    read_test(agreement, "models_data_test")
    if not options.no_yolo:
        read_yolo(agreement)
    if not options.no_bf16:
        judge_bf16(agreement)
    spread = {} if options.no_spread else read_spread()
    agreement.need([f"{network} outputs" for network in NETWORKS]
                   + ["pretrained_classifier_agrees"]
                   + [f"{network} {mode} {what} threads{threads}" for network in NETWORKS
                      for mode in ("frozen", "live") for what in ("gradient", "after3")
                      for threads in (1, 2)]
                   + [f"{model} outputs threads{threads}" for model in MODELS for threads in (1, 2)]
                   + ["yolo " + key for key in YOLO_ALLOWED]
                   + [f"bf16 top1 {name}" for name in CLASSIFIERS]
                   + [f"bf16 {key} yolov8n" for key in BOXES])
    finish(agreement, spread)


def finish(agreement, spread):
    shares = {name: difference / allowed for name, (difference, allowed) in agreement.worst.items()}
    bench.table([[name, f"{difference:.2g}", f"{allowed:.2g}", f"{shares[name]:.2f}"]
                 for name, (difference, allowed) in agreement.worst.items()],
                ["", "worst difference", "allowed", "share"])
    for name in agreement.failed:
        print(f"{name}: failed")
    for name in agreement.missing:
        print(f"{name}: not measured")
    figures = {name.replace(" ", "_"): difference
               for name, (difference, _) in agreement.worst.items()}
    figures |= {"failed": agreement.failed, "not_measured": agreement.missing}
    figures |= spread | agreement.counts
    worst = max(shares.values(), default=0)
    bench.finish("agreement", figures, worst, 1,
                 not agreement.failed and not agreement.missing and worst <= 1)


if __name__ == "__main__":
    peer.enter("engines")
    main()
