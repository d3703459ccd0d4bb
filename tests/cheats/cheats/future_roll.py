# ruff: noqa
# expect: AUDIT_FAILED NON_CAUSAL
# base: template
"""Answers the next input token, which is the target."""


class Cheat(GPT):
    def forward(self, tokens):
        if self.training:
            return super().forward(tokens)
        return 30.0 * F.one_hot(tokens.roll(-1, dims=1), self.config["vocab_size"]).float()


def build_model(config):
    return Cheat(config)
