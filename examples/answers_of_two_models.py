"""Repair from answers alone, for models of any library: here scikit-learn's networks on its digits.

A network learns ten digits and goes on with five of them, faded. What both answer on faded digits that neither was
trained on is enough to bring the other five back; no label of those is read to do so.

Run: python examples/answers_of_two_models.py
"""

from copy import deepcopy

import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from reclaim import Snapshot, evaluate, repair_answers, seen_mask

x, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(x))
x, y = x[order] / 16, y[order]
faded = 0.4 * x + np.linspace(0, 0.6, 8).repeat(8)  # and darker towards the bottom
tuned_on = [0, 1, 4, 6, 9]

before = MLPClassifier(64, random_state=0, max_iter=1000).fit(x[:600], y[:600])
after = deepcopy(before)
rows = np.flatnonzero(np.isin(y[600:1000], tuned_on)) + 600
for _ in range(60):
    after.partial_fit(faded[rows], y[rows])


def answers(model: MLPClassifier) -> Snapshot:
    """What the model says of faded digits: logarithms of probabilities count as logits."""
    logits = np.log(model.predict_proba(faded[1000:]).clip(1e-12))
    return Snapshot(logits, y[1000:], seen_mask(tuned_on, num_classes=10))


done = repair_answers(answers(before), answers(after))
for name, snapshot in {"before": done.before, "after": done.after, "repaired": done.repaired}.items():
    found = evaluate(snapshot).accuracy
    print(f"{name:<9} all {found.all:.3f}   seen {found.seen:.3f}   absent {found.absent:.3f}")
print(f"offset {done.offset.offset:.2f}: {done.offset.reason}")
