"""A training loop of your own: kept rows, a penalty, accuracies by group, and a repaired network at its end.

A network learns scikit-learn's ten digits and goes on with five of them, faded.

Run: python examples/own_loop.py
"""

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reclaim import OwnLoop, evaluate, squared_distance, start_of

SEEN = [0, 1, 4, 6, 9]

torch.manual_seed(0)
digits = load_digits()
order = torch.randperm(len(digits.target))
x, y = torch.tensor(digits.data).float()[order] / 16, torch.tensor(digits.target)[order]
faded = 0.4 * x + torch.linspace(0, 0.6, 8).repeat_interleave(8)  # and darker towards the bottom
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def train(x: Tensor, y: Tensor, steps: int, optimizer: torch.optim.Optimizer, penalty: float) -> None:
    """The loop, as you have it; only the penalty is Reclaim's."""
    start = start_of(network)
    for _ in range(steps):
        rows = torch.randint(len(x), (32,))
        loss = cross_entropy(network(x[rows]), y[rows]) + penalty * squared_distance(network, start)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


train(x[:600], y[:600], 600, torch.optim.AdamW(network.parameters(), lr=3e-3), penalty=0)

loop = OwnLoop(network, seen=SEEN)  # the network as it is now is the pretrained one
optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
loop.begin(faded[:2], optimizer)  # its steps leave the head's rows of absent classes
shown = torch.isin(y, torch.tensor(SEEN)) & (torch.arange(len(y)) >= 600) & (torch.arange(len(y)) < 1000)
for epoch in range(1, 5):
    train(faded[shown], y[shown], 100, optimizer, penalty=0.001)
    with torch.no_grad():
        loop.count(network(faded[1000:]), y[1000:])
    print(f"epoch {epoch}", loop.measured(step=100 * epoch).record())

done = loop.end((faded[1000:], y[1000:]))  # half of the rows choose, of seen classes only; the others report
for name, snapshot in {"before": done.before, "after": done.after, "repaired": done.repaired}.items():
    found = evaluate(snapshot).accuracy
    print(f"{name:<9} all {found.all:.3f}   seen {found.seen:.3f}   absent {found.absent:.3f}")
