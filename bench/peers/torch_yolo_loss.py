"""YOLOv8's losses in PyTorch, from their definition, and ours beside them.

usage: torch_yolo_loss.py PROGRAM FOLDER [--seed N]

PROGRAM is bench_yolo_loss; FOLDER is scratch. Seeded random heads and boxes: images without boxes,
with few, many and heavily overlapping ones, some outside the image. Every loss and the gradient by
the raw maps are compared with double precision; PyTorch's own single precision stands beside it.
The last line is JSON: the largest differences.

Definition: assignment of TOOD (Feng et al. 2021; topk 10, alpha 0.5, beta 6), complete IoU (Zheng et
al. 2020), distribution focal loss (Li et al. 2020; 16 bins), binary cross-entropy; gains 7.5, 0.5,
1.5; everything over the sum of targets. Anchors of metric 0 are nobody's (torch.topk would pick any).
"""
import argparse
import json
import math
import os
import subprocess

import numpy
import torch
from torch.nn import functional

BINS, TOPK, ALPHA, BETA = 16, 10, 0.5, 6.0
GAINS = {"box": 7.5, "classes": 0.5, "distance": 1.5}
STRIDES = (8, 16, 32)


def complete_iou(a, b, eps=1e-7):
    """Of boxes [..., 4] as x1, y1, x2, y2."""
    ax1, ay1, ax2, ay2 = a.unbind(-1)
    bx1, by1, bx2, by2 = b.unbind(-1)
    aw, ah, bw, bh = ax2 - ax1, ay2 - ay1 + eps, bx2 - bx1, by2 - by1 + eps
    inter = ((torch.minimum(ax2, bx2) - torch.maximum(ax1, bx1)).clamp(min=0)
             * (torch.minimum(ay2, by2) - torch.maximum(ay1, by1)).clamp(min=0))
    iou = inter / (aw * ah + bw * bh - inter + eps)
    cw = torch.maximum(ax2, bx2) - torch.minimum(ax1, bx1)
    ch = torch.maximum(ay2, by2) - torch.minimum(ay1, by1)
    rho = ((bx1 + bx2 - ax1 - ax2) ** 2 + (by1 + by2 - ay1 - ay2) ** 2) / 4
    v = 4 / math.pi ** 2 * (torch.atan(bw / bh) - torch.atan(aw / ah)) ** 2
    with torch.no_grad():
        weight = v / (v - iou + 1 + eps)
    return iou - rho / (cw ** 2 + ch ** 2 + eps) - v * weight


def anchors_of(height, width, dtype):
    points, strides = [], []
    for s in STRIDES:
        y, x = torch.meshgrid(torch.arange(height // s, dtype=dtype) + 0.5,
                              torch.arange(width // s, dtype=dtype) + 0.5, indexing="ij")
        points.append(torch.stack([x, y], -1).reshape(-1, 2))
        strides.append(torch.full((points[-1].shape[0], 1), float(s), dtype=dtype))
    return torch.cat(points), torch.cat(strides)


@torch.no_grad()
def assign(scores, predicted, points, labels, boxes):
    """One image: box of each anchor (-1: none) and its target."""
    anchors = points.shape[0]
    owner = torch.full((anchors,), -1)
    target = torch.zeros(anchors, dtype=scores.dtype)
    if len(labels) == 0:
        return owner, target
    inside = torch.cat([points[None] - boxes[:, None, :2], boxes[:, None, 2:] - points[None]],
                       -1).amin(-1) > 1e-9
    overlap = complete_iou(boxes[:, None], predicted[None]).clamp(min=0) * inside
    metric = scores[:, labels].T ** ALPHA * overlap ** BETA
    chosen = torch.zeros_like(inside)
    chosen.scatter_(1, metric.topk(min(TOPK, anchors), dim=1).indices, True)
    chosen &= inside & (metric > 0)
    several = chosen.sum(0) > 1
    nearest = torch.zeros_like(chosen).scatter_(0, overlap.argmax(0)[None], True)
    chosen = torch.where(several[None], nearest, chosen)
    taken = chosen.any(0)
    owner[taken] = chosen.long().argmax(0)[taken]
    metric, overlap = metric * chosen, overlap * chosen
    scaled = metric * overlap.amax(1, keepdim=True) / (metric.amax(1, keepdim=True) + 1e-9)
    return owner, scaled.amax(0)


def losses(maps, height, width, classes, truths):
    """`maps`: [batch, 64 + classes, h, w] each; truths: (labels, boxes) of each image."""
    batch, dtype = maps[0].shape[0], maps[0].dtype
    flat = torch.cat([m.flatten(2) for m in maps], 2).transpose(1, 2)
    sides, logits = flat[..., :4 * BINS].unflatten(2, (4, BINS)), flat[..., 4 * BINS:]
    points, strides = anchors_of(height, width, dtype)
    distances = sides.softmax(-1) @ torch.arange(BINS, dtype=dtype)
    predicted = torch.cat([points - distances[..., :2], points + distances[..., 2:]], -1)
    owner, target = zip(*[assign(logits[i].sigmoid(), predicted[i] * strides, points * strides,
                                 *truths[i]) for i in range(batch)])
    total = sum(t.sum() for t in target).clamp(min=1)
    wanted = torch.zeros_like(logits)
    box = distance = flat.sum() * 0
    for i in range(batch):
        front = (owner[i] >= 0).nonzero()[:, 0]
        if len(front) == 0:
            continue
        labels, boxes = truths[i]
        mine = owner[i][front]
        wanted[i, front, labels[mine]] = target[i][front]
        weight = target[i][front]
        goal = boxes[mine] / strides[front]
        box = box + ((1 - complete_iou(predicted[i, front], goal)) * weight).sum()
        far = torch.cat([points[front] - goal[:, :2], goal[:, 2:] - points[front]], -1)
        far = far.clamp(0, BINS - 1 - 0.01)
        left = far.long()
        share = left + 1 - far
        logs = -sides[i, front].log_softmax(-1)
        cross = (logs.gather(-1, left[..., None])[..., 0] * share
                 + logs.gather(-1, left[..., None] + 1)[..., 0] * (1 - share))
        distance = distance + (cross.mean(-1) * weight).sum()
    cross = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    parts = {"box": box / total, "classes": cross / total, "distance": distance / total}
    parts["total"] = sum(GAINS[k] * parts[k] for k in GAINS)
    parts["foreground"] = torch.tensor(sum(int((o >= 0).sum()) for o in owner))
    return parts


def torch_run(case, maps, dtype):
    leaves = [torch.tensor(m.transpose(0, 3, 1, 2), dtype=dtype, requires_grad=True) for m in maps]
    truths = []
    for image in range(case["batch"]):
        rows = case["boxes"][case["boxes"][:, 0] == image]
        truths.append((torch.tensor(rows[:, 1], dtype=torch.long),
                       torch.tensor(rows[:, 2:], dtype=dtype)))
    parts = losses(leaves, case["height"], case["width"], case["classes"], truths)
    parts["total"].backward()
    grad = numpy.concatenate([l.grad.permute(0, 2, 3, 1).reshape(-1).numpy() for l in leaves])
    return {k: float(v.detach()) for k, v in parts.items()}, grad.astype(numpy.float64)


def draw_case(rng, height, width, classes, counts, deviation):
    rows = []
    for image, count in enumerate(counts):
        for i in range(count):
            if i % 3 == 2 and rows and rows[-1][0] == image:  # much the same as the one before
                box = numpy.array(rows[-1][2:]) + rng.normal(0, 3, 4)
            else:
                x, y = rng.uniform(-5, width), rng.uniform(-5, height)
                box = numpy.array([x, y, x + rng.uniform(2, width / 2), y + rng.uniform(2, height / 2)])
            rows.append([image, rng.integers(classes), *box])
    maps = [rng.normal(0, deviation, (len(counts), height // s, width // s, 4 * BINS + classes))
            .astype(numpy.float32) for s in STRIDES]
    boxes = numpy.array(rows, numpy.float32).reshape(-1, 6)
    return {"height": height, "width": width, "classes": classes, "batch": len(counts),
            "boxes": boxes}, maps


def ours(program, folder, case, maps):
    numpy.save(os.path.join(folder, "maps.npy"), numpy.concatenate([m.reshape(-1) for m in maps]))
    numpy.save(os.path.join(folder, "boxes.npy"), case["boxes"])
    words = [program, folder] + [str(case[k]) for k in ("height", "width", "classes", "batch")]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    grad = numpy.fromfile(os.path.join(folder, "grad.f32"), numpy.float32)
    return json.loads(done.stdout), grad.astype(numpy.float64)


def difference(one, other):
    """Largest relative difference of the losses, and of the gradients by norm and by entry."""
    parts = max(abs(one[0][k] - other[0][k]) / max(abs(other[0][k]), 1e-9)
                for k in ("total", "box", "classes", "distance") if other[0][k] != 0)
    error = numpy.abs(one[1] - other[1])
    return {"loss": parts, "grad_norm": float(numpy.linalg.norm(error) / numpy.linalg.norm(other[1])),
            "grad_max": float(error.max() / numpy.abs(other[1]).max())}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("folder")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    torch.set_num_threads(1)
    rng = numpy.random.default_rng(options.seed)
    cases = [(64, 64, 1, (0, 0), 1.0), (64, 96, 3, (1, 0, 2), 1.0), (160, 160, 6, (12, 5), 1.0),
             (320, 320, 80, (30, 0, 1, 7), 1.0), (320, 320, 6, (40, 25, 60, 3), 2.5),
             (640, 640, 80, (100, 20), 0.3)]
    worst = {}
    print("input      classes boxes  foreground      total   loss      gradient  (PyTorch float32)")
    for height, width, classes, counts, deviation in cases:
        case, maps = draw_case(rng, height, width, classes, counts, deviation)
        exact = torch_run(case, maps, torch.float64)
        single = torch_run(case, maps, torch.float32)
        mine = ours(options.program, options.folder, case, maps)
        off, peer = difference(mine, exact), difference(single, exact)
        same = mine[0]["foreground"] == exact[0]["foreground"]
        print("%4dx%-4d %8d %6d %11d %10.3f   %.1e   %.1e   (%.1e, %.1e)%s" % (
            height, width, classes, sum(counts), mine[0]["foreground"], mine[0]["total"], off["loss"],
            off["grad_norm"], peer["loss"], peer["grad_norm"], "" if same else "  other anchors"))
        for key, value in off.items():
            worst["max_" + key + "_difference"] = max(worst.get("max_" + key + "_difference", 0), value)
        worst["anchors_alike"] = worst.get("anchors_alike", True) and same
    print(json.dumps(worst))


if __name__ == "__main__":
    main()
