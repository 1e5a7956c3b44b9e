"""The results in words: a verdict on each leg, and the Markdown page of a whole run.

In come results by leg and era, out goes text. The page carries no date and no timings, so that a run that measured
the same leaves the same page.
"""

from dataclasses import dataclass
from importlib.metadata import version

from .legs import LEGS
from .results import Lost, Results, add_up, compare, unmet
from .suite import ERAS, PACKAGE, VERSION

Found = dict[str, dict[str, Results]]
"""Results by leg and era; a leg that could not be run is missing."""


@dataclass(frozen=True)
class Verdict:
    """What one leg lost at one revision: what it was excused from, and what it must not lose."""

    excused: list[Lost]
    missing: list[Lost]
    miscounted: str = ""

    @property
    def short(self) -> bool:
        """Whether the leg falls short of its figure."""
        return bool(self.missing or self.miscounted)


def judge(name: str, era: str, found: Found, *, whole: bool) -> Verdict:
    """Measure one leg against its baseline or, if all scenarios were run, its figure."""
    leg, here = LEGS[name], found[name][era]
    if leg.baseline is not None:
        lost = compare(found[leg.baseline].get(era, {}), here)
        excused = [check for check in lost if (era, check.scenario) in leg.excused]
        return Verdict(excused, [check for check in lost if check not in excused])
    wanted, passed = leg.figures[era], add_up(here).checks
    wrong = f"{passed} checks passed, not {wanted}" if whole and passed != wanted else ""
    return Verdict([], unmet(here), wrong)


def short(found: Found, *, whole: bool) -> list[str]:
    """The legs that fall short at any revision."""
    return [name for name in found if any(judge(name, era, found, whole=whole).short for era in found[name])]


def cells(name: str, found: Found) -> list[str]:
    """One leg's figures, two cells a revision: checks, then scenarios."""
    row = []
    for era in ERAS:
        if name not in found or era not in found[name]:
            row += ["-", "-"]
            continue
        sums = add_up(found[name][era])
        baseline = LEGS[name].baseline
        held, total = sums.checks, sums.of_checks
        if baseline is not None:
            # A scenario that breaks off has fewer checks to fail: count against what there is directly.
            total = add_up(found[baseline].get(era, {})).checks
            held = total - len(compare(found[baseline].get(era, {}), found[name][era]))
        row += [f"{held} of {total}", f"{sums.scenarios} of {sums.of_scenarios}"]
    return row


def table(found: Found) -> str:
    """The figures of all legs as a Markdown table."""
    heads = [head for era in ERAS for head in (f"{era}: checks", "scenarios")]
    lines = [f"| leg | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    lines += [f"| {leg.title} | {' | '.join(cells(name, found))} |" for name, leg in LEGS.items() if name in found]
    return "\n".join(lines)


def losses(found: Found, *, whole: bool) -> list[str]:
    """One line for each scenario a leg does not hold, and why."""
    lines = []
    for name, eras in found.items():
        for era in eras:
            verdict = judge(name, era, found, whole=whole)
            lines += _by_scenario(name, era, verdict.excused)
            lines += _by_scenario(name, era, verdict.missing)
            if verdict.miscounted:
                lines.append(f"{LEGS[name].title}, {era}: {verdict.miscounted}")
    return lines


def _by_scenario(name: str, era: str, lost: list[Lost]) -> list[str]:
    lines = []
    for scenario in dict.fromkeys(each.scenario for each in lost):
        checks = [each for each in lost if each.scenario == scenario]
        excuse = LEGS[name].excused.get((era, scenario))
        if excuse:
            what = f"{', '.join(f'`{each.check[0]}`' for each in checks)}: {excuse}"
        else:
            what = "; ".join(f"`{each.check[0]}` ({each.check[1]}) {each.remark}" for each in checks)
        lines.append(f"{LEGS[name].title}, {era}, `{scenario}`, {len(checks)} of its checks: {what}")
    return lines


def page(found: Found) -> str:
    """The whole page."""
    held = losses(found, whole=True)
    return "\n".join(
        [
            "# Conformance",
            "",
            f"Written by `tests/conformance/run.py` from a run of the official suite, `{PACKAGE}` {VERSION},",
            f"with the fixture server and the client of `tests/conformance/`, both on the Python SDK {version('mcp')}.",
            "A check counts if it passed or failed. Each leg is compared with the same run without the proxy,",
            "check for check.",
            "",
            table(found),
            "",
            "`replay` has no server behind it: the suite ran once through `reverse --record`, then against the tape of that.",
            "",
            "`auth/*` is left out on the client's side: it tests a client that authorizes itself, and a proxy at",
            "another URL is another resource.",
            "",
            "## What is not held, and why",
            "",
            *([f"- {line}" for line in held] or ["Nothing."]),
            "",
        ]
    )
