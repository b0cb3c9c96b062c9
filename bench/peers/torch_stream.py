"""The PyTorch peer: the same network, the same replay, the same stream, one thread.

usage: torch_stream.py --data DIR [--order site|shuffled] [--seed N] [--limit N] [--replay N]

Each board is predicted with the published average before its label is learned; then one AdamW step
on it and on --replay boards from memory, half drawn evenly over classes, half by their last loss.
Written to be fast where PyTorch can be: boards are one bit a pixel, so templates are aligned with
64-bit words, all eight symmetries of a board are kept packed, a block of boards is predicted at
once, the optimiser is the fused one, averaging is one call, and of the two memory layouts the
faster one is taken. The clock stands still while it is judged on the kept-out boards.

The last line is JSON.
"""
import argparse
import csv
import json
import os
import time

import numpy
import torch
from torch import nn
from torch.nn import functional

SIDE, CLASSES, WINDOW, REACH = 64, 7, 1000, 6
WIDTHS = ((8, 2), (16, 2), (24, 2), (32, 1), (32, 1))  # channels, stride: as src/learn/slow/network.c
FULL = numpy.uint64(0xFFFFFFFFFFFFFFFF)


# ---- Boards --------------------------------------------------------------------------------------

def fnv1a(text):
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = (value ^ byte) * 0x100000001B3 % 2 ** 64
    return value


class Boards:
    """Rows of 64 pixels as 64-bit words, the leftmost pixel the highest bit."""

    def __init__(self, folder, order):
        with open(os.path.join(folder, "labels.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        with open(os.path.join(folder, f"order_{order}.csv"), newline="") as file:
            ids = numpy.array([int(row["id"]) for row in csv.DictReader(file)])
        self.label = numpy.array([int(row["label"]) for row in rows])
        kept_out = numpy.array([fnv1a(row["image"]) % 10 == 0 for row in rows])
        words = numpy.fromfile(os.path.join(folder, "patches_u1.npy"), ">u8", offset=128)
        self.words = words.astype(numpy.uint64).reshape(-1, 2, SIDE)
        self.stream = ids[~kept_out[ids]]
        self.kept_out = numpy.flatnonzero(kept_out)


def moved(rows, dy, dx):
    """Rows [n, 64] of templates read at (y + dy, x + dx), and a mask of what that covers."""
    out, mask = numpy.zeros_like(rows), numpy.zeros(SIDE, numpy.uint64)
    low, high = max(0, -dy), SIDE - max(0, dy)
    shift = numpy.uint64(abs(dx))
    source = rows[:, low + dy:high + dy]
    out[:, low:high] = source << shift if dx >= 0 else source >> shift
    mask[low:high] = FULL << shift if dx >= 0 else FULL >> shift
    return out, mask


def align(test, template):
    """Each template moved to where it differs least from its board; uncovered pixels copy it."""
    shifts = sorted((dy * dy + dx * dx, dy, dx)
                    for dy in range(-REACH, REACH + 1) for dx in range(-REACH, REACH + 1))
    middle = (FULL >> numpy.uint64(2 * REACH)) << numpy.uint64(REACH)
    inner = slice(REACH, SIDE - REACH)
    differing = numpy.empty((len(shifts), len(test)), numpy.uint16)
    for k, (_, dy, dx) in enumerate(shifts):
        rows = template[:, REACH + dy:SIDE - REACH + dy]
        rows = rows << numpy.uint64(dx) if dx >= 0 else rows >> numpy.uint64(-dx)
        differing[k] = numpy.bitwise_count((rows ^ test[:, inner]) & middle).sum(1)
    best = differing.argmin(0)  # the first of equals: the shortest shift
    out = numpy.empty_like(test)
    for k in numpy.unique(best):
        which = best == k
        rows, mask = moved(template[which], shifts[k][1], shifts[k][2])
        out[which] = (rows & mask) | (test[which] & ~mask)
    return out


def symmetries(words):
    """[n, 3, 64] words to [8, n, 3, 64, 8] bytes: bit 1 mirrors, 2 turns over, 4 transposes."""
    pixels = numpy.unpackbits(words.astype(">u8").view(numpy.uint8).reshape(-1, 3, SIDE, 8), axis=-1)
    found = []
    for transform in range(8):
        view = pixels.swapaxes(-1, -2) if transform & 4 else pixels
        view = view[..., ::-1] if transform & 1 else view
        view = view[..., ::-1, :] if transform & 2 else view
        found.append(numpy.packbits(view, axis=-1))
    return numpy.stack(found)


# ---- Network -------------------------------------------------------------------------------------

class Network(nn.Module):
    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for outputs, stride in WIDTHS:
            conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            nn.init.normal_(conv.weight, 0, (2 / (9 * inputs)) ** 0.5)
            layers += [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(2 * inputs, CLASSES)
        nn.init.normal_(self.head.weight, 0, 0.01)
        nn.init.zeros_(self.head.bias)

    def forward(self, x):
        x = self.body(x)
        return self.head(torch.cat((x.mean((2, 3)), x.amax((2, 3))), 1))


def floats(module):
    return [t for t in module.state_dict().values() if t.is_floating_point()]


def copy_of(network):
    copy = Network().eval().requires_grad_(False)
    copy.load_state_dict(network.state_dict())
    return copy


# ---- Learning ------------------------------------------------------------------------------------

class Memory:
    """What was labelled, by class and by last loss."""

    def __init__(self, capacity, rng):
        self.rng, self.count = rng, 0
        self.id = numpy.zeros(capacity, numpy.int64)
        self.loss = numpy.zeros(capacity, numpy.float32)
        self.of_class = [[] for _ in range(CLASSES)]

    def add(self, item, label):
        self.id[self.count] = item
        self.loss[self.count] = 2.0
        self.of_class[label].append(self.count)
        self.count += 1

    def evenly(self, count):
        defects = [places for places in self.of_class[1:] if places]
        chosen = []
        for ok, which, where in self.rng.random((count, 3)):
            if self.of_class[0] and (not defects or ok < 0.25):
                places = self.of_class[0]
            else:
                places = defects[int(which * len(defects))]
            chosen.append(places[int(where * len(places))])
        return chosen

    def draw(self, count):
        by_loss = count // 2 if self.count >= 32 else 0
        chosen = self.evenly(count - by_loss)
        if by_loss:
            sums = numpy.cumsum(numpy.clip(self.loss[:self.count], 0.02, 2.0))
            places = numpy.searchsorted(sums, self.rng.random(by_loss) * sums[-1])
            chosen += numpy.minimum(places, self.count - 1).tolist()
        return chosen


class Learner:
    def __init__(self, boards, layout, options):
        torch.manual_seed(options.seed)
        self.boards, self.layout, self.replay = boards, layout, options.replay
        self.rng = numpy.random.default_rng(options.seed)
        self.network = Network().train().to(memory_format=layout)
        self.average = copy_of(self.network).to(memory_format=layout)
        self.served = copy_of(self.network).to(memory_format=layout)
        self.online, self.averaged = floats(self.network), floats(self.average)
        weights = [p for p in self.network.parameters() if p.ndim > 1]
        others = [p for p in self.network.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": weights, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
            lr=0.004, betas=(0.9, 0.99), eps=1e-8, fused=True)
        self.packed = numpy.zeros((8, len(boards.label), 3, SIDE, 8), numpy.uint8)
        self.memory = Memory(len(boards.label), self.rng)
        self.steps = 0

    def take_in(self, ids):
        """Align and pack boards that are seen for the first time."""
        test, template = self.boards.words[ids].swapaxes(0, 1)
        template = align(test, template)
        self.packed[:, ids] = symmetries(numpy.stack((test, template, test ^ template), 1))

    def batch(self, ids, transforms):
        x = torch.from_numpy(numpy.unpackbits(self.packed[transforms, ids], axis=-1)).float()
        x[:, :2].mul_(2.0).sub_(1.0)
        return x.contiguous(memory_format=self.layout)

    def publish(self):
        self.served.load_state_dict(self.average.state_dict())

    @torch.inference_mode()
    def predict(self, ids):
        parts = [functional.softmax(self.served(self.batch(ids[i:i + 64], 0)), 1)
                 for i in range(0, len(ids), 64)]
        return torch.cat(parts).numpy()

    def learn(self, item):
        memory, label = self.memory, self.boards.label
        memory.add(item, label[item])
        chosen = numpy.array([memory.count - 1] + memory.draw(self.replay))
        ids = memory.id[chosen]
        x = self.batch(ids, self.rng.integers(0, 8, len(ids)))
        loss = functional.cross_entropy(self.network(x), torch.from_numpy(label[ids]),
                                        reduction="none")
        rate = 0.004 * min(1.0, memory.count / 50) / (1.0 + memory.count / 2000) ** 0.5
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.mean().backward()
        self.optimizer.step()
        memory.loss[chosen] = loss.detach().numpy()
        self.steps += 1
        keep = min(0.998, (1 + self.steps) / (10 + self.steps))
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.online, 1 - keep)


def faster_layout(boards, options):
    """A few steps in each layout."""
    spans = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        learner = Learner(boards, layout, options)
        learner.take_in(boards.stream[:64])
        for item in boards.stream[:24]:
            learner.learn(item)
        began = time.process_time()
        for item in boards.stream[24:64]:
            learner.learn(item)
        spans[layout] = time.process_time() - began
    return min(spans, key=spans.get)


# ---- Deciding and judging ------------------------------------------------------------------------

def limit_for(scores, defect):
    """As src/learn/fast/threshold.h: the lowest limit that reached the precision, one false alarm more."""
    scores, defect = scores[-WINDOW:], defect[-WINDOW:]
    if len(scores) < 300 or defect.sum() < 20:
        return 0.9
    order = numpy.argsort(-scores, kind="stable")
    hits = numpy.cumsum(defect[order])
    good = numpy.flatnonzero(hits / (numpy.arange(len(scores)) + 2) >= 0.994)
    limit = scores[order[good[-1]]] if len(good) else 0.9
    enough = numpy.flatnonzero(hits >= 0.97 * hits[-1])[0]
    return float(numpy.clip(min(limit, scores[order[enough]]), 0.5, 0.9))


def decide(scores, limit):
    return numpy.where(1 - scores[:, 0] >= limit, 1 + scores[:, 1:].argmax(1), 0)


def shares(decided, truth):
    hits = ((decided > 0) & (truth > 0)).sum()
    return {"accuracy": float((decided == truth).mean()),
            "precision": float(hits / max(1, (decided > 0).sum())),
            "recall": float(hits / max(1, (truth > 0).sum()))}


def labels_needed(decided, truth):
    def window(values):
        sums = numpy.concatenate(([0], numpy.cumsum(values)))
        return sums[WINDOW:] - sums[:-WINDOW]
    hits = window((decided > 0) & (truth > 0))
    good = (hits > 0.994 * window(decided > 0)) & (hits > 0.95 * window(truth > 0))
    run = 0
    for i, one in enumerate(good):
        run = run + 1 if one else 0
        if run == 501:
            return i - 500 + WINDOW
    return None


class Run:
    def __init__(self, boards, learner, options):
        self.boards, self.learner, self.options = boards, learner, options
        self.items = boards.stream[:options.limit or None]
        self.truth = boards.label[self.items]
        self.scores = numpy.zeros((len(self.items), CLASSES), numpy.float32)
        self.decided = numpy.zeros(len(self.items), int)
        self.looks, self.cpu_s = [], 0.0

    def limit(self, known):
        return limit_for(1 - self.scores[:known, 0], self.truth[:known] > 0)

    def judge(self, known):
        kept_out = self.boards.kept_out
        self.learner.publish()
        found = shares(decide(self.learner.predict(kept_out), self.limit(known)),
                       self.boards.label[kept_out])
        self.looks.append({"labels": known, **found})
        return found

    def block(self, start, stop):
        learner = self.learner
        learner.publish()
        limit = self.limit(start)
        learner.take_in(self.items[start:stop])
        self.scores[start:stop] = learner.predict(self.items[start:stop])
        self.decided[start:stop] = decide(self.scores[start:stop], limit)
        for item in self.items[start:stop]:
            learner.learn(item)

    def go(self):
        every, looked = self.options.judge_every, 0
        for start in range(0, len(self.items), self.options.publish):
            stop = min(len(self.items), start + self.options.publish)
            began = time.process_time()
            self.block(start, stop)
            self.cpu_s += time.process_time() - began
            if every and stop // every > looked:
                looked = stop // every
                self.judge(stop)
        return self.judge(len(self.items))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--order", choices=("site", "shuffled"), default="site")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--replay", type=int, default=16)
    parser.add_argument("--publish", type=int, default=16)
    parser.add_argument("--judge-every", type=int, default=0)
    return parser.parse_args()


def main():
    options = parse()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    boards = Boards(options.data, options.order)
    layout = faster_layout(boards, options)
    learner = Learner(boards, layout, options)
    run = Run(boards, learner, options)
    learner.take_in(boards.kept_out)  # not counted: nobody pays for being judged
    held = run.go()
    late = [look["precision"] for look in run.looks if look["labels"] >= 4000]
    print(json.dumps({
        "order": options.order, "seed": options.seed, "replay": options.replay,
        "layout": str(layout), "labels": len(run.items), "cpu_s": run.cpu_s,
        "cpu_ms_per_label": 1e3 * run.cpu_s / len(run.items),
        "labels_needed": labels_needed(run.decided, run.truth),
        "stream": shares(run.decided, run.truth), "held_out": held,
        "last_1000": shares(run.decided[-1000:], run.truth[-1000:]),
        "lowest_precision": min(late) if late else None, "torch": torch.__version__}))


main()
