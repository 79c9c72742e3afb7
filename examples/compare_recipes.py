"""Which way of fine-tuning loses least? Three recipes on scikit-learn's digits, of which five classes are trained on.

Run: python examples/compare_recipes.py
"""

import torch

from reclaim import Budget, evaluate, fine_tune, load_data, load_model, lp_ft, predict, wise_ft

torch.manual_seed(0)  # the network starts at random
source, target = load_data("digits"), load_data("digits-shifted")
network = load_model("reclaim/digits_cnn").bind(source.classes)
pretrained = fine_tune(network, source, Budget(epochs=20, learning_rate=0.05, batch_size=32))

budget = Budget(epochs=30, learning_rate=0.01, batch_size=32)
models = {
    "pretrained": pretrained,
    "fine-tune": fine_tune(pretrained, target, budget),
    "lp-ft": lp_ft(pretrained, target, budget),
    "wise-ft": wise_ft(pretrained, target, budget, alpha=0.5),
}
for name, model in models.items():
    found = evaluate(predict(model, target, "test")).accuracy
    print(f"{name:<11} all {found.all:.3f}   seen {found.seen:.3f}   absent {found.absent:.3f}")
