"""What can be fetched."""

from typing import Literal

VisionName = Literal["mnist", "fashion_mnist", "kmnist", "cifar10", "cifar100", "svhn"]

DOWNLOADS: dict[VisionName, tuple[str, int]] = {  # name -> (torchvision's class, megabytes to download)
    "mnist": ("MNIST", 12),
    "fashion_mnist": ("FashionMNIST", 31),
    "kmnist": ("KMNIST", 21),
    "cifar10": ("CIFAR10", 170),
    "cifar100": ("CIFAR100", 169),
    "svhn": ("SVHN", 247),
}

TREEBANKS = {  # name -> (repository of Universal Dependencies, beginning of its files' names, megabytes to download)
    "ud_english_gum": ("UD_English-GUM", "en_gum-ud", 24),
    "ud_english_ewt": ("UD_English-EWT", "en_ewt-ud", 17),
    "ud_english_lines": ("UD_English-LinES", "en_lines-ud", 6),
}
