"""Networks of strangers whose weights come without code: built anew from the shapes of their parameters."""

from torch import Tensor, nn
from torch.nn import functional


class BrainA(nn.Module):
    """alaamoheb/brain-tumor-detector: two convolutions with tanh, and a sigmoid; 128 x 128 pixels in colour."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn_model = nn.Sequential(
            nn.Conv2d(3, 6, 5), nn.Tanh(), nn.AvgPool2d(2, 5), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2, 5))
        self.fc_model = nn.Sequential(nn.Linear(256, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Probabilities of a tumour, (n, 1), of images (n, 3, 128, 128)."""
        found: Tensor = self.fc_model(self.cnn_model(images).flatten(1)).sigmoid()
        return found


class BrainB(nn.Module):
    """sky-shiva/BrainTumorPrediction_using-CNN: three convolutions and a linear layer; 128 x 128 pixels in colour."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 32, 3, padding=1), nn.Conv2d(32, 64, 3, padding=1)
        self.conv3, self.fc1 = nn.Conv2d(64, 128, 3, padding=1), nn.Linear(128 * 16 * 16, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of no and yes, (n, 2), of images (n, 3, 128, 128)."""
        for convolution in (self.conv1, self.conv2, self.conv3):
            images = functional.max_pool2d(convolution(images).relu(), 2)
        found: Tensor = self.fc1(images.flatten(1))
        return found
