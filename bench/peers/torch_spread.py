"""How far PyTorch's own float32 training spreads: what a fixture's live training can be held to.

usage: torch_spread.py FOLDER [--draws N] [--threads N]

FOLDER is one of ../shared/data/fixtures. Its training graph runs in PyTorch for the steps of the
fixture (live normalisation, SGD with momentum), in double precision, and in float32 in both memory
layouts with the input as it is and moved by 1e-7 of itself, in N ways. A distance is that of all
parameters after the steps from those in double precision, as a share of the update. The last line is
JSON.
"""
import argparse
import json
import os

import numpy
import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

MOVED_BY = 1e-7
LAYOUTS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


class Fixture:
    def __init__(self, folder):
        name = os.path.basename(os.path.normpath(folder))
        self.folder = folder
        graph = onnx.load(os.path.join(folder, name + ".train.onnx")).graph
        self.input, self.output = graph.input[0].name, graph.output[0].name
        self.nodes = [(node.op_type, list(node.input), node.output[0],
                       {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute})
                      for node in graph.node]
        self.initial = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy())
                        for i in graph.initializer}
        for operator, _, output, attributes in self.nodes:
            if operator == "Constant":
                value = numpy_helper.to_array(attributes["value"])
                self.initial[output] = torch.from_numpy(value.copy())
        with open(os.path.join(folder, "meta.json")) as file:
            self.meta = json.load(file)
        self.trained = self.meta["param_order"]
        self.x = torch.from_numpy(numpy.load(os.path.join(folder, "batch_x.npy")))
        self.labels = torch.from_numpy(numpy.load(os.path.join(folder, "batch_y.npy")))


def convolve(x, attributes, weight, bias=None):
    top, left, bottom, right = attributes.get("pads", [0] * 4)
    padding = (top, left)
    if (top, left) != (bottom, right):
        x, padding = functional.pad(x, (left, right, top, bottom)), 0
    return functional.conv2d(x, weight, bias, attributes.get("strides", 1), padding,
                             attributes.get("dilations", 1), attributes.get("group", 1))


def forward(fixture, values, x):
    """The logits; normalisation by the batch's own statistics."""
    values = {**values, fixture.input: x}
    for operator, inputs, output, attributes in fixture.nodes:
        if operator == "Constant":
            continue
        x, *rest = (values[name] if name else None for name in inputs)
        if operator == "Conv":
            y = convolve(x, attributes, *rest)
        elif operator == "BatchNormalization":
            y = functional.batch_norm(x, None, None, rest[0], rest[1], True,
                                      eps=attributes.get("epsilon", 1e-5))
        elif operator == "Clip":
            y = torch.clamp(x, float(rest[0]), float(rest[1]))
        elif operator == "Add":
            y = x + rest[0]
        elif operator == "GlobalAveragePool":
            y = x.mean((2, 3), keepdim=True)
        elif operator == "Flatten":
            y = x.flatten(1)
        elif operator == "Gemm":
            y = functional.linear(x, rest[0], rest[1])
        else:
            raise SystemExit(f"{fixture.folder}: operator {operator} is not known here")
        values[output] = y
    return values[fixture.output]


def after_steps(fixture, dtype, layout, x):
    """All parameters after the steps as one vector in double precision, and the losses."""
    values = {name: value.to(dtype, copy=True) if value.is_floating_point() else value
              for name, value in fixture.initial.items()}
    trained = [values[name].contiguous(memory_format=layout) if values[name].ndim == 4
               else values[name] for name in fixture.trained]
    for name, value in zip(fixture.trained, trained):
        values[name] = value.requires_grad_()
    meta, losses = fixture.meta, []
    optimizer = torch.optim.SGD(trained, lr=meta["lr"], momentum=meta["momentum"])
    x = x.to(dtype).contiguous(memory_format=layout)
    for _ in range(meta["steps"]):
        optimizer.zero_grad()
        loss = functional.cross_entropy(forward(fixture, values, x), fixture.labels)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        losses.append(functional.cross_entropy(forward(fixture, values, x), fixture.labels).item())
        return torch.cat([value.detach().double().flatten() for value in trained]), losses


def moved(x, seed):
    if seed == 0:
        return x
    random = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, x.shape, generator=random) * 2 - 1
    return (x.double() * (1 + MOVED_BY * signs)).float()


def spread(fixture, draws):
    start = torch.cat([fixture.initial[name].double().flatten() for name in fixture.trained])
    exact, exact_losses = after_steps(fixture, torch.float64, torch.contiguous_format, fixture.x)
    update = torch.linalg.norm(exact - start).item()
    runs = []
    for name, layout in LAYOUTS.items():
        for seed in range(draws + 1):
            after, losses = after_steps(fixture, torch.float32, layout, moved(fixture.x, seed))
            runs.append({"layout": name, "seed": seed,
                         "update": torch.linalg.norm(after - exact).item() / update,
                         "losses": [abs(a - b) for a, b in zip(losses, exact_losses)]})
    file_losses = fixture.meta["losses_live"]
    return runs, max(abs(a - b) for a, b in zip(exact_losses, file_losses))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("--draws", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fixture = Fixture(options.folder)
    runs, file_loss = spread(fixture, options.draws)
    print(f"losses in double precision: at most {file_loss:.1e} from the fixture's")
    for run in runs:
        how = "as it is" if run["seed"] == 0 else f"moved, {run['seed']}"
        print(f"float32 {run['layout']}, input {how}: {run['update']:.2g} of the update; losses "
              + ", ".join(f"{loss:.1e}" for loss in run["losses"]))
    shares = [run["update"] for run in runs]
    print(json.dumps({"update_low": min(shares), "update_high": max(shares),
                      "losses_high": [max(each) for each in zip(*(r["losses"] for r in runs))],
                      "file_loss": file_loss, "runs": len(runs)}))


if __name__ == "__main__":
    main()
