"""Imitate rows of absent classes by deleting each row's own class."""

from __future__ import annotations

import torch

from reclaim.errors import BadInput
from reclaim.metrics.margins import Margins, margins
from reclaim.metrics.tradeoff import best, curve_of
from reclaim.selectors import Evidence, Selection

__all__ = ["own_class_left_out"]


def own_class_left_out(evidence: Evidence) -> Selection:
    """Keep held-out rows seen, and send the same rows without their own class to the absent classes.

    γ maximises the share of rows that stay right plus the share of rows, own class deleted, whose largest logit is an
    absent one. The features of seen rows are better than those of absent ones, so it can overshoot.

    Needs: seen.
    Raises: BadInput if only one class is seen.
    Source: Reclaim; the idea of treating seen classes as unseen is that of Chao et al., ECCV 2016.
    """
    rows = evidence.need("seen", by="own-class-left-out")
    assert rows.labels is not None
    if int(rows.seen.sum()) < 2:
        raise BadInput("leaving each row's own class out needs two seen classes; only one is seen.")
    m = margins(rows.logits, rows.labels, rows.seen)
    always, never = torch.ones_like(m.hit), torch.zeros_like(m.is_seen)
    both = Margins(  # the real rows as seen ones, their deleted twins as absent ones
        margin=torch.cat([m.margin, m.left_out]),
        left_out=torch.cat([m.left_out, m.left_out]),
        hit=torch.cat([m.hit, always]),
        right=torch.cat([m.right, always]),
        is_seen=torch.cat([m.is_seen, never]),
    )
    offset, share = best(curve_of(both), "balanced")
    return Selection(
        offset=offset,
        reason=f"it keeps rows right, and sends rows without their own class to absent ones, {share:.1%} of the time",
        evidence={"seen": len(rows)},
    )
