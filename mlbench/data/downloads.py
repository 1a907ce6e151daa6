"""What can be fetched: mlbench's name -> (torchvision's class, megabytes to download)."""

DOWNLOADS = {
    "mnist": ("MNIST", 12),
    "fashion_mnist": ("FashionMNIST", 31),
    "kmnist": ("KMNIST", 21),
    "cifar10": ("CIFAR10", 170),
    "cifar100": ("CIFAR100", 169),
    "svhn": ("SVHN", 247),
}
