"""PyTorch training one network, as a worker that takes turns (bench/lib/turns.py).

usage: torch_train.py export NETWORK FILE.onnx --size N
       torch_train.py deploy NETWORK --input FILE.npy [--threads N]
       torch_train.py train NETWORK --input FILE.npy --labels FILE.npy [--batch N] [--threads N]
                      [--precision fp32|bf16]

A step is forward, loss, backward and SGD with momentum, live normalisation. Of the two memory
layouts the faster is kept; bf16 is autocast. Also takes "compare FILE": the loss and the gradients
of the first step of the other side. A run of deploy is what lies between a step and the first answer
with its weights: export to ONNX (by tracing, which is quicker than the other exporter), a session of
ONNX Runtime, one run.
"""
import argparse
import json
import time

import numpy
import torch
from torch.nn import functional

from lib import turns
from peers import torch_networks

CLASSES = {"yolov8n": 80}  # else as many as a loop may have


def network_of(name):
    return torch_networks.build(name, CLASSES.get(name, 64)).train()


def loss_of(name, labels, size):
    """Function of the network's output. `labels`: [batch] classes, or boxes [n, 6] of item, class,
    and corners in pixels."""
    if labels.ndim == 1:
        classes = torch.from_numpy(labels)
        return lambda logits: functional.cross_entropy(logits.float(), classes)
    from peers import torch_yolo_loss
    truths = []
    for item in range(int(labels[:, 0].max()) + 1):
        rows = torch.from_numpy(labels[labels[:, 0] == item])
        truths.append((rows[:, 1].long(), rows[:, 2:]))
    return lambda maps: torch_yolo_loss.losses([m.float() for m in maps], size, size, CLASSES[name],
                                               truths)["total"]


class Trainer:
    def __init__(self, options, layout):
        self.layout, self.bf16 = layout, options.precision == "bf16"
        self.network = network_of(options.network).to(memory_format=layout)
        x = torch.from_numpy(numpy.load(options.input)[:options.batch])
        self.x = x.contiguous(memory_format=layout)
        self.loss = loss_of(options.network, numpy.load(options.labels), x.shape[-1])
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.001, momentum=0.9,
                                         fused=True)

    def differentiate(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            output = self.network(self.x)
        loss = self.loss(output)
        loss.backward()
        return loss

    def step(self):
        self.differentiate()
        self.optimizer.step()

    def seconds(self):
        spans = []
        for _ in range(3):
            start = time.perf_counter()
            self.step()
            spans.append(time.perf_counter() - start)
        return min(spans[1:])


def first_gradients(trainer):
    """As arrays in the layout of the file, and the loss; before any step."""
    loss = trainer.differentiate().item()
    return loss, {name: value.grad.contiguous().numpy().copy()
                  for name, value in trainer.network.named_parameters()}


def compare(first, path):
    """How far the other side's loss and gradients are from ours, each gradient as a norm beside its
    own, above a millionth of the norm of all (some are exactly 0 in theory)."""
    loss, gradients = first
    with open(path + ".json") as file:
        other = json.load(file)
    numbers = numpy.fromfile(path, numpy.float32)
    floor = 1e-6 * numpy.sqrt(sum(float((g ** 2).sum()) for g in gradients.values()))
    worst, at, missing = 0.0, "", set(gradients)
    for name, offset, count, trained in other["params"]:
        if not trained or name not in gradients:
            continue
        missing.discard(name)
        ours, theirs = gradients[name].ravel(), numbers[offset:offset + count]
        far = max(0.0, float(numpy.linalg.norm(ours - theirs)) - floor)
        far /= max(float(numpy.linalg.norm(ours)), floor)
        if far > worst:
            worst, at = far, name
    return {"loss": loss, "loss_difference": abs(other["loss"] - loss) / abs(loss),
            "gradient_difference": worst, "gradient": at, "missing": sorted(missing)}


def train(options):
    torch.set_num_threads(options.threads)
    first = first_gradients(Trainer(argparse.Namespace(**{**vars(options), "precision": "fp32"}),
                                    torch.contiguous_format))
    trainers = [Trainer(options, layout)
                for layout in (torch.contiguous_format, torch.channels_last)]
    trainer = min(trainers, key=Trainer.seconds)
    layout = "NHWC" if trainer.layout == torch.channels_last else "NCHW"
    turns.serve({"version": torch.__version__, "layout": layout}, trainer.step,
                {"compare": lambda path: compare(first, path)})


def deploy(options):
    import tempfile
    import onnxruntime
    torch.set_num_threads(options.threads)
    network = network_of(options.network)
    x = numpy.load(options.input)[:1]

    def run():
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            torch_networks.export(network.eval(), x.shape[-1], file.name, normalisation=False)
            settings = onnxruntime.SessionOptions()
            settings.intra_op_num_threads = options.threads
            session = onnxruntime.InferenceSession(file.name, settings,
                                                   providers=["CPUExecutionProvider"])
            session.run(None, {session.get_inputs()[0].name: x})

    run()
    turns.serve({"version": torch.__version__}, run)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("act", choices=["export", "deploy", "train"])
    parser.add_argument("network")
    parser.add_argument("file", nargs="?")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--input")
    parser.add_argument("--labels")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"])
    options = parser.parse_args()
    if options.act == "export":
        torch_networks.export(network_of(options.network), options.size, options.file)
    elif options.act == "deploy":
        deploy(options)
    else:
        train(options)


if __name__ == "__main__":
    main()
