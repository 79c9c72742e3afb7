"""Ways of fine-tuning: ``(model, data, budget, *, own numbers) -> model``.

A recipe leaves the given model as it is and returns the same architecture. It trains on rows of seen classes only, and
rows of the head that belong to absent classes keep their pretrained weights unless the budget trains them too. A budget
of zero epochs changes nothing.
"""
