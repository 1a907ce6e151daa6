"""The page of `mlbench lecture`: each claim with its experiment, figures, the numbers that decide, and the verdict."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from markupsafe import Markup

from mlbench.reporting.claims.base import Claim, Result, Verdict
from mlbench.reporting.html.page import Section, badge, heading, joined, paragraph, picture, sounds, table, write_page

CHINESE = {Verdict.HOLDS: "成立", Verdict.FAILS: "不成立", Verdict.UNDECIDED: "未定"}
MARKS = {Verdict.HOLDS: "good", Verdict.FAILS: "bad", Verdict.UNDECIDED: "open"}
METHOD = (
    "A claim holds where the 95 % t interval over seeds of each number below lies beyond its bound, does not hold "
    "where one lies wholly on the other side, and is not decided otherwise. Numbers of two settings are paired by "
    "seed. Explanations judged by people are out of scope."
)
SOUNDS_SHOWN = 12


def write_lecture(path: Path, results: list[Result], lectures: Mapping[str, list[Claim]], took: float) -> Path:
    """Write the page and give back its path; `took` is how long the command ran, in seconds."""
    sections = [Section("verdicts", "Verdicts", verdicts(results))]
    for title, claims in lectures.items():
        own = [result for result in results if result.claim in claims]
        if own:
            sections.append(Section(title.lower().replace(" ", "-"), title, joined(map(article, own))))
    sets = sorted({str(run.setting("data")) for result in results for run in result.runs.all})
    data = ", ".join(sets) or "nothing yet"
    count = "One claim" if len(results) == 1 else f"{len(results)} claims"
    lead = f"{count} of three lectures, tested in {took / 60:.1f} minutes on {data}. {METHOD}"
    return write_page(path, "The lectures, reproduced", lead, sections)


def verdicts(results: Iterable[Result]) -> Markup:
    """One row a claim."""
    rows = [
        [
            Markup('<a href="#{0}">{0}</a>').format(result.claim.name),
            verdict_badge(result.verdict),
            sentences(result.claim),
            f"{result.seconds:.0f}",
        ]
        for result in results
    ]
    return table(["name", "verdict", "claim", "seconds"], rows)


def verdict_badge(verdict: Verdict) -> Markup:
    """The verdict in both languages."""
    return badge(Markup("{} · <span lang=zh>{}</span>").format(verdict.value, CHINESE[verdict]), MARKS[verdict])


def sentences(claim: Claim) -> Markup:
    """The claim in both languages."""
    return Markup("{}<br><span lang=zh>{}</span>").format(claim.english, claim.chinese)


def article(result: Result) -> Markup:
    """All of one claim."""
    claim = result.claim
    words = [f"mlbench -m {sweep.words}" for sweep in result.sweeps]
    numbers = [
        [check.says, str(check.spread), check.spread.count, verdict_badge(check.verdict)] for check in result.checks
    ]
    parts = [
        heading(Markup("{} {}").format(claim.name, verdict_badge(result.verdict)), claim.name),
        paragraph(sentences(claim)),
        Markup("<pre><code>{}</code></pre>").format("\n".join(words)),
        *([table(["what decides", "measured", "seeds", "verdict"], numbers)] if numbers else []),
        *([paragraph(result.trouble)] if result.trouble else []),
        *figures(result),
        sounds([path for pattern in claim.sounds for path in of_first_run(result, pattern)][:SOUNDS_SHOWN]),
        Markup("<p class=quiet>{} runs, {:.0f} s</p>").format(len(result.runs.all), result.seconds),
    ]
    return joined(parts)


def figures(result: Result) -> list[Markup]:
    """What the sweeps have of each pattern, with their commands below where there are several; else the first run."""
    pictures = []
    for pattern in result.claim.figures:
        paths = [(path, sweep.words) for sweep in result.sweeps for path in sorted(sweep.folder.glob(pattern))]
        if paths:
            pictures += [picture(path, f"mlbench -m {words}" if len(paths) > 1 else "") for path, words in paths]
        else:
            pictures += map(picture, of_first_run(result, pattern))
    return pictures


def of_first_run(result: Result, pattern: str) -> list[Path]:
    """What the first run that has files of this pattern has."""
    there = (sorted(run.folder.glob(pattern)) for run in result.runs.all)
    return next((files for files in there if files), [])
