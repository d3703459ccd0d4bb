"""The parts of the sealed evaluator: asking for logits, scoring them, auditing the model behind them."""
