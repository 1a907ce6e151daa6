"""The labels of a sweep's runs: made short, and searched for the number that distinguishes them."""

from collections import defaultdict

from mlbench.core.config_groups import FAMILIES


def short_labels(labels: list[str]) -> list[str]:
    """Labels without the settings that all of them share; the technique's name always stays."""
    shared = set.intersection(*(set(label.split(" ")) for label in labels)) if labels else set()
    named = []
    for label in labels:
        own = [short_override(item) for item in label.split(" ") if item not in shared or short_override(item) != item]
        named.append(" ".join(own) or label)
    return named


def short_override(item: str) -> str:
    """`lifelong=gem` as `gem`; other settings as they are."""
    group, _, name = item.partition("=")
    return name if group in FAMILIES else item


def number_of_each(labels: list[str]) -> tuple[str, dict[str, dict[str, float]]]:
    """For labels of several techniques the setting whose number alone tells those of each apart, and what `one_number`
    gives for each technique; empty where there is no such setting."""
    own: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        own[" ".join(word for word in label.split(" ") if "=" not in word)].append(label)
    numbers = {technique: one_number(each) for technique, each in own.items()}
    settings = {setting for setting, _ in numbers.values()}
    if len(numbers) < 2 or len(settings) > 1 or settings == {""}:
        return "", {}
    return settings.pop(), {technique: values for technique, (_, values) in numbers.items()}


def one_number(labels: list[str]) -> tuple[str, dict[str, float]]:
    """The setting whose number alone tells the labels apart, and label -> number in ascending order; empty where there
    is no such setting."""
    items = [[word.partition("=") for word in label.split(" ")] for label in labels]
    technique = {tuple(name for name, equals, _ in words if not equals) for words in items}
    set_here = [[(name, value) for name, equals, value in words if equals] for words in items]
    names = {tuple(name for name, _ in pairs) for pairs in set_here}
    if len(labels) < 2 or len(technique) > 1 or len(names) > 1 or len(only := names.pop()) != 1:
        return "", {}
    try:
        values = {label: float(pairs[0][1]) for label, pairs in zip(labels, set_here, strict=True)}
    except ValueError:
        return "", {}
    return only[0], dict(sorted(values.items(), key=lambda item: item[1]))
