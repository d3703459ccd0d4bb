# ruff: noqa
# expect: AUDIT_FAILED NON_CAUSAL
# base: template
"""Only the first half sees the future, where audits at the end would not look."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        half = tokens.size(1) // 2
        leak = F.one_hot(tokens.roll(-1, dims=1), self.config["vocab_size"]).float()
        logits[:, :half] += 10.0 * leak[:, :half]
        return logits


def build_model(config):
    return Cheat(config)
