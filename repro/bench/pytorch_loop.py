"""The training that the harness is timed against: ResNet-20 of He et al. 2016 in a plain PyTorch loop.

What a careful person writes without a framework: the images preprocessed in memory, crops and flips of a whole batch at
once, the error counted on the device. PyTorch is installed only for this: pip install torch.
"""
import torch
from torch import nn
from torch.nn import functional as F

PAD = 4


class Block(nn.Module):
    """Two 3×3 convolutions beside the identity; option A: subsampled, the new channels zero."""

    def __init__(self, channels, maps, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, maps, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(maps, maps, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(maps), nn.BatchNorm2d(maps)
        self.stride, self.more = stride, maps - channels

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.more:
            x = F.pad(x[:, :, ::self.stride, ::self.stride], (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return F.relu(y + x)


class ResNet(nn.Module):
    """6n + 2 layers, section 4.2."""

    def __init__(self, n=3, classes=10):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks, channels = [], 16
        for maps in (16, 32, 64):
            for index in range(n):
                blocks.append(Block(channels, maps, 2 if index == 0 and maps > 16 else 1))
                channels = maps
        self.blocks, self.fc = nn.Sequential(*blocks), nn.Linear(64, classes)

    def forward(self, x):
        return self.fc(self.blocks(F.relu(self.bn(self.conv(x)))).mean((2, 3)))


def epochs(images, labels, batch: int, bfloat16: bool = False):
    """Trains an epoch at every `next`; yields (loss, error in %). images uint8 (N, 32, 32, 3), labels (N,)."""
    torch.manual_seed(0)
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    x, y = (x - x.mean(0)).contiguous(), torch.from_numpy(labels).long()
    padded = F.pad(x, (PAD,) * 4)
    model = ResNet()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
    windows = torch.arange(x.shape[-1])
    while True:
        model.train()
        total, wrong = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for chosen in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                logits = model(_augmented(padded, chosen, windows))
                loss = F.cross_entropy(logits, y[chosen])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(chosen)
            wrong += (logits.argmax(1) != y[chosen]).sum()
        yield float(total) / len(x), 100 * int(wrong) / len(x)


def _augmented(padded, chosen, windows):
    """Random crops of the padded images or of their mirror images."""
    top, left = torch.randint(0, 2 * PAD + 1, (2, len(chosen), 1))
    across = left + windows
    across = torch.where(torch.rand(len(chosen), 1) < 0.5, across.flip(1), across)
    return padded[chosen[:, None, None], :, (top + windows)[:, :, None], across[:, None, :]].permute(0, 3, 1, 2)
