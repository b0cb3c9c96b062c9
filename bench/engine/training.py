"""A training step of the engine beside PyTorch: the same networks, weights and batch, in turn.

quick: --networks mobilenet_v3_small --batches 8 --threads 1 --rounds 3

A step is forward, loss, backward and SGD with momentum, with live normalisation; batch 8 and 16, one
thread and two. PyTorch writes its network as an ONNX file, which the engine trains; the losses and
gradients of the first step are compared. PyTorch runs in the faster of its two memory layouts, in
float32 and in bf16 (autocast); the engine in both too. Two ratios: float32 to float32, and the
fastest of ours to its fastest.
"""
import argparse
import itertools
import math
import os
import statistics
import subprocess
import sys

from lib import bench, turns
from peers import peer

NETWORKS = {"mobilenet_v3_small": 224, "mobilenet_v3_large": 224, "efficientnet_lite0": 224,
            "yolov8n": 320}
BARS = {"mobilenet_v3_small": (2.0, 2.5), "mobilenet_v3_large": (2.0, 2.5),
        "efficientnet_lite0": (1.6, 2.2), "yolov8n": (1.4, 1.9)}  # float32, fastest
WORST_LOSS, WORST_GRADIENT = 1e-4, 2e-2


def peer_words(*words):
    return [sys.executable, "-B", "-W", "ignore", peer.script("torch_train.py"), *words]


def exported(network, folder):
    path = os.path.join(folder, network + ".onnx")
    if not os.path.exists(path):
        subprocess.run([str(word) for word in peer_words("export", network, path, "--size",
                                                         NETWORKS[network])],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return path


def data(network, batch, folder):
    """Seeded images with what is to be learned: a class each, or boxes [n, 6] of item, class, and
    corners in pixels."""
    import numpy
    from lib import models
    size = NETWORKS[network]
    images = models.seeded_images(folder, size, batch)
    labels = os.path.join(folder, f"labels_{network}_{batch}.npy")
    random = numpy.random.default_rng(batch)
    if network != "yolov8n":
        numpy.save(labels, random.integers(0, 64, batch))
        return images, labels
    rows = []
    for item in range(batch):
        for _ in range(6):
            x, y = random.uniform(0, 0.7 * size, 2)
            width, height = random.uniform(0.06 * size, 0.3 * size, 2)
            rows.append([item, random.integers(0, 80), x, y, x + width, y + height])
    numpy.save(labels, numpy.array(rows, numpy.float32))
    return images, labels


class Case:
    def __init__(self, network, batch, threads, precisions):
        self.network, self.batch, self.threads = network, batch, threads
        self.precisions = precisions
        self.name = f"{network}_batch{batch}_threads{threads}"

    def start(self, folder):
        """The workers by name; those of ours that can be had."""
        images, labels = data(self.network, self.batch, folder)
        shared = ["--input", images, "--labels", labels, "--batch", self.batch, "--threads",
                  self.threads]
        workers = {}
        try:
            for precision in self.precisions:
                try:
                    workers["ours_" + precision] = turns.Worker(
                        [bench.tool("engine"), "train", "--model", exported(self.network, folder),
                         "--precision", precision, "--output", f"{folder}/first_{precision}",
                         *shared], self.threads)
                except turns.Refused:  # not every processor has bf16
                    if precision == "fp32":
                        raise
            for precision in ("fp32", "bf16"):
                workers["torch_" + precision] = turns.Worker(
                    peer_words("train", self.network, "--precision", precision, *shared),
                    self.threads)
        except turns.Refused:
            for worker in workers.values():
                worker.close()
            raise
        return workers

    def measure(self, options, folder):
        workers = self.start(folder)
        try:
            self.compared = workers["torch_fp32"].ask("compare", f"{folder}/first_fp32")
            self.layouts = {name: worker.ready["layout"] for name, worker in workers.items()
                            if "layout" in worker.ready}
            spans = turns.take_turns(workers, options.rounds, options.seconds)
        finally:
            for worker in workers.values():
                worker.close()
        self.ms = {name: 1e3 * statistics.median(each) for name, each in spans.items()}
        self.fp32 = turns.ratio(spans["ours_fp32"], spans["torch_fp32"])
        ours = min((name for name in spans if name.startswith("ours")), key=self.ms.get)
        theirs = min(("torch_fp32", "torch_bf16"), key=self.ms.get)
        self.fastest = turns.ratio(spans[ours], spans[theirs])
        self.bars = BARS[self.network]
        self.agrees = (self.compared["loss_difference"] <= WORST_LOSS and
                       self.compared["gradient_difference"] <= WORST_GRADIENT and
                       not self.compared["missing"])

    def met(self):
        return self.agrees and self.fp32[0] >= self.bars[0] and self.fastest[0] >= self.bars[1]

    def row(self):
        def cell(ratio):
            return f"{ratio[0]:.2f} ({ratio[1]:.2f}-{ratio[2]:.2f})"
        return [self.name, *(f"{self.ms[f'torch_{p}']:.1f} {self.layouts[f'torch_{p}']}"
                             for p in ("fp32", "bf16")),
                *(f"{self.ms.get(f'ours_{p}', math.nan):.1f}" for p in self.precisions),
                cell(self.fp32), f"{self.bars[0]}", cell(self.fastest), f"{self.bars[1]}",
                f"{self.compared['loss_difference']:.0e}",
                f"{self.compared['gradient_difference']:.0e}"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"],
                        choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.7, help="a turn's")
    options = parser.parse_args()
    if "fp32" not in options.precisions:
        parser.error("fp32 must be among the precisions")
    bench.pin()
    busy = bench.others_cpu()
    print(f"others use {busy:.1f} cores")
    cases, refused = [], []
    with bench.folder() as folder:
        for words in itertools.product(options.networks, options.batches, options.threads):
            case = Case(*words, options.precisions)
            try:
                case.measure(options, folder)
                cases.append(case)
                print(f"{case.name}: PyTorch {case.ms['torch_fp32']:.1f} ms, bf16 "
                      f"{case.ms['torch_bf16']:.1f}; ours {case.ms['ours_fp32']:.1f}: "
                      f"{case.fp32[0]:.2f} times faster, fastest to fastest "
                      f"{case.fastest[0]:.2f}", flush=True)
            except turns.Refused as error:
                refused.append(case.name)
                print(f"{case.name}: not measured: {error}", flush=True)
    finish(cases, refused, options, busy)


def finish(cases, refused, options, busy):
    bench.table([case.row() for case in cases],
                ["", "PyTorch fp32 ms", "bf16 ms", *(f"ours {p} ms" for p in options.precisions),
                 "fp32 ratio", "bar", "fastest ratio", "bar", "loss", "gradients"])
    figures = {"cores_used_by_others": busy, "not_measured": refused,
               "gradients_agree": all(case.agrees for case in cases)}
    for case in cases:
        figures |= {f"{case.name}_{name}_ms": ms for name, ms in case.ms.items()}
        figures |= {f"{case.name}_fp32_ratio": case.fp32[0],
                    f"{case.name}_fp32_ratio_low": case.fp32[1],
                    f"{case.name}_fp32_ratio_high": case.fp32[2],
                    f"{case.name}_fastest_ratio": case.fastest[0]}
    # The ratio is the one furthest below, or nearest to, its own bar.
    pairs = [(case.fp32[0], case.bars[0]) for case in cases]
    pairs += [(case.fastest[0], case.bars[1]) for case in cases]
    ratio, bar = min(pairs, key=lambda pair: pair[0] / pair[1], default=(0, 0))
    bench.finish("training", figures, ratio, bar,
                 bool(cases) and not refused and all(case.met() for case in cases))


if __name__ == "__main__":
    peer.enter("engines")
    main()
