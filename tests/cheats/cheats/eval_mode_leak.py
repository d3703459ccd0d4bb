# ruff: noqa
# expect: AUDIT_FAILED NON_CAUSAL
# base: template
"""Causal while it trains; a little of the future leaks in when it is scored."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        if not self.training:
            logits = logits + 2.0 * F.one_hot(tokens.roll(-1, dims=1), self.config["vocab_size"]).float()
        return logits


def build_model(config):
    return Cheat(config)
