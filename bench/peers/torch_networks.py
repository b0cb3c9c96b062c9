"""The networks of the engine's benchmarks in PyTorch, and their ONNX files.

MobileNetV3 is torchvision's, EfficientNet-Lite timm's; YOLOv8 is written out here, with the names of
ultralytics' modules. Dropout is off, so that both sides do the same work. Weights are seeded.
"""
import torch
from torch import nn
from torch.nn import functional


# ---- YOLOv8 --------------------------------------------------------------------------------------

class ConvNormSilu(nn.Module):
    def __init__(self, inputs, outputs, kernel=1, stride=1):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return functional.silu(self.bn(self.conv(x)))


class Bottleneck(nn.Module):
    def __init__(self, channels, adds):
        super().__init__()
        self.cv1 = ConvNormSilu(channels, channels, 3)
        self.cv2 = ConvNormSilu(channels, channels, 3)
        self.adds = adds

    def forward(self, x):
        y = self.cv2(self.cv1(x))
        return x + y if self.adds else y


class C2f(nn.Module):
    """Splits its channels; each bottleneck works on what the one before gave; all are joined."""

    def __init__(self, inputs, outputs, count, adds):
        super().__init__()
        half = outputs // 2
        self.cv1 = ConvNormSilu(inputs, outputs)
        self.cv2 = ConvNormSilu((2 + count) * half, outputs)
        self.m = nn.ModuleList(Bottleneck(half, adds) for _ in range(count))

    def forward(self, x):
        parts = list(self.cv1(x).chunk(2, 1))
        for block in self.m:
            parts.append(block(parts[-1]))
        return self.cv2(torch.cat(parts, 1))


class Sppf(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.cv1 = ConvNormSilu(channels, channels // 2)
        self.cv2 = ConvNormSilu(channels * 2, channels)

    def forward(self, x):
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, 1, 2))
        return self.cv2(torch.cat(parts, 1))


class Upsample(nn.Module):
    def forward(self, x):
        return functional.interpolate(x, scale_factor=2, mode="nearest")


class Head(nn.Module):
    """For each scale a map [n, 64 + classes, h, w]: box distances, then classes."""

    def __init__(self, channels, classes):
        super().__init__()
        box, score = max(16, channels[0] // 4, 64), max(channels[0], min(classes, 100))
        self.cv2 = nn.ModuleList(self.branch(c, box, 64) for c in channels)
        self.cv3 = nn.ModuleList(self.branch(c, score, classes) for c in channels)
        for scale, (boxes, scores) in enumerate(zip(self.cv2, self.cv3)):
            nn.init.constant_(boxes[2].bias, 1.0)
            nn.init.constant_(scores[2].bias, -7.0 + scale)

    @staticmethod
    def branch(inputs, width, outputs):
        return nn.Sequential(ConvNormSilu(inputs, width, 3), ConvNormSilu(width, width, 3),
                             nn.Conv2d(width, outputs, 1))

    def forward(self, maps):
        return tuple(torch.cat((boxes(x), scores(x)), 1)
                     for x, boxes, scores in zip(maps, self.cv2, self.cv3))


class Yolov8n(nn.Module):
    def __init__(self, classes=80):
        super().__init__()
        c = ConvNormSilu
        self.model = nn.ModuleList([
            c(3, 16, 3, 2), c(16, 32, 3, 2), C2f(32, 32, 1, True), c(32, 64, 3, 2),
            C2f(64, 64, 2, True), c(64, 128, 3, 2), C2f(128, 128, 2, True), c(128, 256, 3, 2),
            C2f(256, 256, 1, True), Sppf(256), Upsample(), nn.Identity(), C2f(384, 128, 1, False),
            Upsample(), nn.Identity(), C2f(192, 64, 1, False), c(64, 64, 3, 2), nn.Identity(),
            C2f(192, 128, 1, False), c(128, 128, 3, 2), nn.Identity(), C2f(384, 256, 1, False),
            Head((64, 128, 256), classes)])

    def forward(self, x):
        m = self.model
        for layer in m[:5]:
            x = layer(x)
        p3 = x
        p4 = m[6](m[5](p3))
        p5 = m[9](m[8](m[7](p4)))
        up4 = m[12](torch.cat((m[10](p5), p4), 1))
        out3 = m[15](torch.cat((m[13](up4), p3), 1))
        out4 = m[18](torch.cat((m[16](out3), up4), 1))
        out5 = m[21](torch.cat((m[19](out4), p5), 1))
        return m[22]((out3, out4, out5))


# ---- By name -------------------------------------------------------------------------------------

def build(name, classes, seed=1):
    torch.manual_seed(seed)
    if name == "yolov8n":
        return Yolov8n(classes)
    if name.startswith("mobilenet_v3"):
        import torchvision
        network = getattr(torchvision.models, name)(num_classes=classes, dropout=0.0)
        # Equal initial biases would be merged in the file, and then learn as one.
        for parameter in network.parameters():
            if parameter.ndim == 1 and not parameter.any():
                nn.init.normal_(parameter, std=0.01)
        return network
    import timm
    return timm.create_model(name, pretrained=False, num_classes=classes, drop_rate=0.0)


def export(network, size, path, normalisation=True):
    """An ONNX file; with `normalisation` its nodes stay, to be trained."""
    modes = torch.onnx.TrainingMode
    training = modes.TRAINING if normalisation else modes.EVAL
    x = torch.randn(2 if normalisation else 1, 3, size, size)
    state = {name: value.clone() for name, value in network.state_dict().items()}
    torch.onnx.export(network, (x,), path, training=training,
                      do_constant_folding=not normalisation, opset_version=17, dynamo=False,
                      input_names=["input"])
    network.load_state_dict(state)  # exporting in training mode moves the statistics
