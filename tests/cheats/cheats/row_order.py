# ruff: noqa
# expect: AUDIT_FAILED ORDER_DEPENDENT
# base: template
"""Learns within the batch: every row sees what stood in the rows above it."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        counts = torch.zeros(self.config["vocab_size"])
        for row in range(len(tokens)):
            logits[row] += 3.0 * counts / (counts.max() + 1.0)
            counts += torch.bincount(tokens[row], minlength=len(counts))
        return logits


def build_model(config):
    return Cheat(config)
