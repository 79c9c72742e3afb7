"""Lightning, with a callback that keeps absent rows, measures both groups, and ends with a repaired network.

A network learns scikit-learn's ten digits and goes on with five of them, faded.

Run: python examples/lightning_repair.py
"""

import logging
import warnings

import lightning.pytorch as lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from reclaim import evaluate, lightning_callback

warnings.filterwarnings("ignore", module="lightning")  # few workers, few batches
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
lightning.seed_everything(0, verbose=False)
digits = load_digits()
order = torch.randperm(len(digits.target))
x, y = torch.tensor(digits.data).float()[order] / 16, torch.tensor(digits.target)[order]
faded = 0.4 * x + torch.linspace(0, 0.6, 8).repeat_interleave(8)  # and darker towards the bottom
seen = [0, 1, 4, 6, 9]


class Digits(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(self.network(batch[0]), batch[1])

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self.network(batch[0])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.network.parameters(), lr=3e-3)


def trainer(*callbacks: lightning.Callback, epochs: int) -> lightning.Trainer:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    return lightning.Trainer(max_epochs=epochs, callbacks=list(callbacks), accelerator="cpu", logger=False, **quiet)


module = Digits()
trainer(epochs=30).fit(module, DataLoader(TensorDataset(x[:600], y[:600]), batch_size=32, shuffle=True))

shown = torch.isin(y[600:1000], torch.tensor(seen))
tuning = TensorDataset(faded[600:1000][shown], y[600:1000][shown])
held_out = TensorDataset(faded[1000:], y[1000:])
callback = lightning_callback(module.network, seen)
trainer(callback, epochs=20).fit(
    module, DataLoader(tuning, batch_size=32, shuffle=True), DataLoader(held_out, batch_size=100)
)
for measured in callback.history[::5]:
    print(measured.step, measured.record())
done = callback.repaired
for name, snapshot in {"before": done.before, "after": done.after, "repaired": done.repaired}.items():
    found = evaluate(snapshot).accuracy
    print(f"{name:<9} all {found.all:.3f}   seen {found.seen:.3f}   absent {found.absent:.3f}")
