"""``reclaim diagnose``."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reclaim.cli.arrays import Arrays
from reclaim.cli.flags import Inputs, Output, open_model
from reclaim.core.terminal import console, say

if TYPE_CHECKING:
    from reclaim.snapshots.snapshot import Snapshot


def command(
    before: Path,
    after: Path,
    *,
    before_model: str | None = None,
    after_model: str | None = None,
    weights: Literal["raw", "averaged"] | None = None,
    arrays: Arrays = Arrays(),
    classes: Path | None = None,
    output: Output = Output(),
) -> None:
    """Say what fine-tuning damaged, from two snapshots of the same rows.

    Args:
        before: the pretrained model's snapshot.
        after: the fine-tuned model's.
        before_model: the pretrained model itself, to compare weights.
        after_model: the fine-tuned model itself.
        weights: of a checkpoint that holds raw and averaged weights, which to take; by default the averaged ones.
        classes: of logits from elsewhere: a file that names the columns, one per line, in order.
    """
    from reclaim.report.diagnose import diagnose

    first, second = arrays.pair(before, after, classes)
    findings = diagnose(
        with_model(first, before, before_model, weights), with_model(second, after, after_model, weights)
    )

    def table() -> None:
        page = console()
        for finding in sorted(findings, key=lambda finding: not finding.damaged):
            page.print(finding.question, style="bold", end="")
            page.print(" damaged" if finding.damaged else "", style="red")
            page.print(f"  {finding.verdict}\n", soft_wrap=False)

    output.show({"findings": [asdict(finding) for finding in findings]}, table)


def with_model(
    snapshot: "Snapshot", path: Path, model: str | None, weights: Literal["raw", "averaged"] | None = None
) -> "Snapshot":
    """The snapshot, with the model's weights if the model is given. It is said if others answered than these."""
    from reclaim.models.identity import identity

    if model is None:
        return snapshot
    theta = open_model(model, Inputs(weights=weights)).weights
    if snapshot.model_identity and snapshot.model_identity != identity(theta):
        say(f"reclaim: {path} holds the answers of other weights than {model} has.")
    return replace(snapshot, weights=theta)
