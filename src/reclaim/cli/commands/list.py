"""``reclaim list``."""

from reclaim.cli.flags import Output
from reclaim.core.errors import unknown
from reclaim.core.registry import FAMILIES, describe, names
from reclaim.core.terminal import console


def command(family: str = "", *, output: Output = Output()) -> None:
    """What there is, one line each, with its source.

    Args:
        family: recipes, merges, calibrators, selectors, diagnoses, models, data or papers; all of them by default.
    """
    if family and family not in FAMILIES:
        raise unknown("family", family, list(FAMILIES))
    methods = {f: [describe(f, name) for name in names(f)] for f in ([family] if family else FAMILIES)}
    record = {
        f: [{"name": m.name, "summary": m.summary, "source": m.source} for m in each] for f, each in methods.items()
    }

    def table() -> None:
        page = console()
        for f, each in methods.items():
            page.print(f, style="bold")
            for m in each:
                page.print(f"  {m.name:<26} {m.summary}", end="")
                page.print(f"  ({m.source})" if m.source else "", style="dim")

    output.show(record, table)
