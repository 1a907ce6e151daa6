"""The classes of mlbench that a `_target_` may name: those in conf/, and what techniques put around a network.

A module is imported for a `_target_` only if its class is here, or is one of the user's own: importing a module runs
it, and a `_target_` may stand in a file that somebody else has written.
"""

import re
from functools import cache

from mlbench.core.config_groups import CHOICES, conf_folder
from mlbench.core.renamed import PACKAGE

# classes that files of networks name, and no config: what a technique has put around a network
WRAPPINGS = (
    "compress.adaptive.exit_network.Exits",
    "lifelong.isolation.progressive.Columns",
    "lifelong.replay.icarl.NearestMean",
)
TARGET = re.compile(rf"_target_: *({re.escape(PACKAGE)}[\w.]+)")


@cache
def buildable() -> frozenset[str]:
    """Their full names."""
    texts = [path.read_text(encoding="utf-8") for group in CHOICES for path in (conf_folder() / group).rglob("*.yaml")]
    return frozenset(target for text in texts for target in TARGET.findall(text)) | {
        PACKAGE + name for name in WRAPPINGS
    }
