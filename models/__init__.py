"""Networks to train, named as torchvision's: their state_dicts load here as they are, and back.

Each is `name(num_classes=1000, *, in_channels=3, small_images=False, dtype="float32", rng=None)`. small_images: a first
convolution of 3x3 with stride 1 and no pooling after it, for images of 32x32 and the like. rng: a numpy Generator or a
seed, from which the weights are drawn as torchvision draws them; None draws a fresh one. No weights are downloaded.
"""

from .lenet import lenet5
from .mobilenet import mobilenet_v2
from .resnet import resnet18, resnet34, resnet50
from .unet import unet
from .vgg import vgg11, vgg16

__all__ = ["lenet5", "mobilenet_v2", "resnet18", "resnet34", "resnet50", "unet", "vgg11", "vgg16"]
