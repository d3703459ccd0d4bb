# ruff: noqa
# expect: AUDIT_FAILED NON_CAUSAL
# base: template
"""A bag of the row's tokens joins every position."""


class Cheat(GPT):
    def forward(self, tokens):
        logits = super().forward(tokens)
        bag = F.one_hot(tokens, self.config["vocab_size"]).float().mean(dim=1, keepdim=True)
        return logits + 20.0 * bag


def build_model(config):
    return Cheat(config)
